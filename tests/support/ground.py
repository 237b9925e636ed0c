"""An arena with more to try: several models, lookups, notices of any kind, offsets as they were committed."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from scoring.contract.features import FeatureSchema, LookupField, TableLookup
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind, Notice, seal_notice
from scoring.contract.progress import Progress
from scoring.contract.topics import NOTICES, model_topics
from tests.support.arena import PARTITIONS, Arena, Record, read_all, wait_until
from tests.support.bundles import MOMENT, make_bundle, small_record, small_schema

WEATHER = TableLookup(
    name="weather",
    connection="warehouse",
    table="weather",
    match=(("station", "color"),),
    valid_at="observed_at",
    max_age_s=10 * 86_400.0,
    fields=(LookupField(name="wind"),),
)


class Ground(Arena):
    """An arena whose workers take further variables, and whose topics can be looked at in detail."""

    def __init__(self, bootstrap: str, folder: Path, *, session_timeout_ms: int = 2_000) -> None:
        super().__init__(bootstrap, folder, session_timeout_ms=session_timeout_ms)
        self.variables: dict[str, str] = {}
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})

    def environment(self, slot: int) -> dict[str, str]:
        return {**super().environment(slot), **self.variables}

    # --- models and notices ---------------------------------------------------------------------------------------

    def register_as(self, version: int, schema: FeatureSchema, *, model: str | None = None) -> str:
        """Put a bundle with another schema, or of another model, into the registry; returns its digest."""
        name = model or self.model
        folder = self.folder / "registry" / name / str(version)
        digest = make_bundle(folder, version, model=name, topics=Topics.of(name), schema=schema)
        if model is None:
            self.digests[version] = digest
        return digest

    def copy_of_registry(self) -> Path:
        """Another registry that holds what this one holds now."""
        return Path(shutil.copytree(self.folder / "registry", self.folder / "registry-1"))

    def promote_with_weather(self, version: int) -> None:
        """Promote a version that looks up the wind for a record's color."""
        self.register_as(version, small_schema((WEATHER,)))
        self.notify(version, version)

    def say(self, model: str, sequence: int, digest: str, *, version: str, kind: Kind = Kind.PROMOTE) -> None:
        """Announce an entry for any model."""
        self._announce(
            Notice(
                ledger=self.ledger,
                model=model,
                sequence=sequence,
                kind=kind,
                version=version,
                manifest_digest=digest,
                decided_at=MOMENT,
                effective_from=MOMENT,
            )
        )

    def _announce(self, notice: Notice) -> None:
        sealed = seal_notice(notice, source="test", event_id=str(uuid4()), time=datetime.now(UTC), keyring=self.keyring)
        self.send(NOTICES, sealed.value, sealed.key, [*sealed.headers])

    # --- topics ---------------------------------------------------------------------------------------------------

    def create(self, name: str, settings: Mapping[str, str], partitions: int = PARTITIONS) -> None:
        made = self.admin.create_topics([NewTopic(name, partitions, 1, config=dict(settings))])
        made[name].result(20)

    def create_model_topics(self, topics: Topics) -> None:
        for spec in model_topics(topics, PARTITIONS):
            self.create(spec.name, spec.settings, spec.partitions)

    def delete(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(20)
        wait_until(lambda: name not in self.admin.list_topics(timeout=10).topics, 20, f"{name} was not deleted")

    def set(self, topic: str, setting: str, value: str) -> None:
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(20)
        # The controller answers before the broker goes by it.
        wait_until(lambda: self._setting(topic, setting) == value, 60, f"{setting} of {topic} did not become {value}")

    def _setting(self, topic: str, setting: str) -> str | None:
        (found,) = self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        entry: ConfigEntry = found.result(20)[setting]
        return entry.value

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic further partitions."""
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(20)
        # A producer that asks before the broker knows of them refuses what is sent there.
        wait_until(lambda: self._partitions(topic) == partitions, 60, f"{topic} has {self._partitions(topic)} of them")

    def _partitions(self, topic: str) -> int:
        return len(self.admin.list_topics(timeout=10).topics[topic].partitions)

    def topic_id(self, topic: str) -> str:
        from scoring.worker.directory import TopicDirectory

        return TopicDirectory({"bootstrap.servers": self.bootstrap}, self.group).topic_id(topic)

    def lift_size_limit(self) -> None:
        """From now on the topic alone decides how large a record may be."""
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "message.max.bytes": 100_000_000})

    # --- offsets --------------------------------------------------------------------------------------------------

    @property
    def group(self) -> str:
        return f"baton-{self.deployment}"

    def committed(self, topic: str | None = None) -> dict[int, tuple[int, Progress]]:
        """The committed offset and progress of each partition."""
        found = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group)])[self.group]
        return {
            place.partition: (place.offset, Progress.decode(place.metadata))
            for place in found.result(20).topic_partitions or []
            if place.topic == (topic or self.topics.input) and place.offset >= 0
        }

    def commit(self, partition: int, offset: int, sequence: int) -> None:
        """Commit an offset with the progress of a sequence, as a worker of the deployment would have; none may run."""
        wait_until(self.without_members, 20, "the group still has members")
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        metadata = Progress(self.ledger, sequence).encode()
        place = TopicPartition(self.topics.input, partition, offset, metadata=metadata)
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()

    def without_members(self) -> bool:
        """Whether the group is empty; a static member that left is in it for its session timeout."""
        state = self.admin.describe_consumer_groups([self.group])[self.group].result(20).state
        return state in {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}

    # --- looking --------------------------------------------------------------------------------------------------

    def predictions(self, topic: str | None = None) -> list[dict[str, Any]]:
        """The values of all predictions, partition by partition in order."""
        return [
            json.loads(record.value or b"") for record in read_all(self.bootstrap, topic or self.topics.predictions)
        ]

    def letters(self) -> list[Record]:
        return read_all(self.bootstrap, self.topics.dead_letters)

    def wait_for_log(self, text: str, *, slot: int = 0, timeout_s: float = 60.0) -> None:
        wait_until(lambda: text in self.log_of(slot), timeout_s, f"the log of slot {slot} never said {text!r}")

    def wait_for_status(self, condition: Callable[[dict[str, Any]], bool], *, timeout_s: float = 60.0) -> None:
        """Wait until the newest heartbeat's status of the model fulfils a condition."""
        wait_until(lambda: condition(self.state()), timeout_s, f"the status is {self.state()}", every_s=0.3)

    def wait_for_exit(self, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> int:
        return process.wait(timeout_s)

    def wait_for_heartbeats(self, count: int, *, slot: int = 0, timeout_s: float = 60.0) -> None:
        """Wait until the worker in a slot has sent so many more."""
        own = f"{self.deployment}/{slot}"
        before = sum(beat["worker"] == own for beat in self.heartbeats())
        wait_until(
            lambda: sum(beat["worker"] == own for beat in self.heartbeats()) >= before + count,
            timeout_s,
            f"slot {slot} sends no heartbeat",
            every_s=0.5,
        )

    def events(self, slot: int = 0) -> list[dict[str, Any]]:
        """The lines of a worker's log that are structured; what is being written is none yet."""
        whole, _, _ = self.log_of(slot).rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


class Warehouse:
    """The database that lookups read: a SQLite file that can be locked, as if it were away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: sqlite3.Connection | None = None
        self.execute("create table weather (station text, observed_at timestamp, wind real)")

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def execute(self, statement: str, rows: Sequence[tuple[object, ...]] = ((),)) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(statement, rows)

    def observe(self, rows: Sequence[tuple[str, datetime, float]]) -> None:
        moments = [(station, moment.strftime("%Y-%m-%d %H:%M:%S.%f"), wind) for station, moment, wind in rows]
        self.execute("insert into weather values (?, ?, ?)", moments)

    def go_away(self) -> None:
        """Nobody can read until it comes back."""
        self._lock = sqlite3.connect(self.path, isolation_level=None)
        self._lock.execute("begin exclusive")

    def come_back(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def record(number: int, **changes: object) -> bytes:
    """The bytes of ``small_record(number)``, changed."""
    return msgspec.json.encode({**small_record(number), **changes})


def registry_away(folder: Path) -> Path:
    """Move the folder registry away; returns where it is."""
    away = folder / "registry-away"
    (folder / "registry").rename(away)
    return away
