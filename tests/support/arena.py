"""A stream of its own on a real broker: topics, a folder registry, notices, input records and worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from scoring.contract.envelope import Keyring
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind, Notice, seal_notice
from scoring.contract.topics import ACKNOWLEDGEMENTS, NOTICES, WORKERS, control_topics, model_topics
from tests.support.bundles import MOMENT, make_bundle, small_record

PARTITIONS = 4
KEY = "a" * 43 + "="
POLL_S = 0.02


class Arena:
    """Everything that a worker needs, under one folder and one model's name."""

    def __init__(self, bootstrap: str, folder: Path, *, session_timeout_ms: int = 2_000) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.model = f"small_{uuid4().hex[:10]}"
        self.topics = Topics.of(self.model)
        self.deployment = f"d{uuid4().hex[:8]}"
        self.ledger = UUID(int=7)
        self.session_timeout_ms = session_timeout_ms
        self.produced = 0
        self.workers: list[subprocess.Popen[bytes]] = []
        self.digests: dict[int, str] = {}
        (folder / "keys.json").write_text(json.dumps({"active": "k1", "keys": {"k1": KEY}}))
        self.keyring = Keyring.from_json((folder / "keys.json").read_bytes())
        self.kills = folder / "kills.jsonl"
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all"})
        create_topics(bootstrap, self.topics)

    def close(self) -> None:
        """End every worker that is still running."""
        for process in self.workers:
            if process.poll() is None:
                process.kill()
            process.wait()

    # --- models ---------------------------------------------------------------------------------------------------

    def register(self, version: int, *, golden_error: float = 0.0) -> str:
        """Put the bundle of a version into the folder registry; returns the manifest's digest."""
        folder = self.folder / "registry" / self.model / str(version)
        self.digests[version] = make_bundle(
            folder, version, model=self.model, topics=self.topics, golden_error=golden_error
        )
        return self.digests[version]

    def notify(self, sequence: int, version: int, *, kind: Kind = Kind.PROMOTE, ledger: UUID | None = None) -> None:
        """Announce an entry of the ledger."""
        notice = Notice(
            ledger=ledger or self.ledger,
            model=self.model,
            sequence=sequence,
            kind=kind,
            version=str(version),
            manifest_digest=self.digests[version],
            decided_at=MOMENT,
            effective_from=MOMENT,
        )
        sealed = seal_notice(notice, source="test", event_id=str(uuid4()), time=datetime.now(UTC), keyring=self.keyring)
        self.send(NOTICES, sealed.value, sealed.key, [*sealed.headers])

    def promote(self, version: int) -> None:
        """Register a version and announce it under the sequence of the same number."""
        self.register(version)
        self.notify(version, version)

    # --- records --------------------------------------------------------------------------------------------------

    def feed(self, records: int) -> None:
        """Produce good records, continuing their numbers; partition is the number modulo four."""
        for number in range(self.produced, self.produced + records):
            value = msgspec.json.encode(small_record(number))
            self._produce(value, b"k%d" % (number % 40), number % PARTITIONS, [("correlation-id", b"c%d" % number)])
        self.produced += records
        self._flush()

    def feed_raw(self, value: bytes | None, *, key: bytes = b"raw", partition: int = 0, headers: object = None) -> None:
        """Produce one record as it is."""
        self._produce(value, key, partition, headers)
        self.produced += 1
        self._flush()

    def send_all(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Produce records by value and key, to the partitions in turn."""
        for number, (value, key) in enumerate(records):
            self._produce(value, key, number % PARTITIONS, None)
        self.produced += len(records)
        self._flush()

    def send(self, topic: str, value: bytes | None, key: bytes, headers: object) -> None:
        """Produce to any topic."""
        self._producer.produce(topic, value, key, headers=headers)  # type: ignore[arg-type]
        self._flush()

    def _produce(self, value: bytes | None, key: bytes, partition: int, headers: object) -> None:
        while True:
            try:
                return self._producer.produce(self.topics.input, value, key, partition, headers=headers)  # type: ignore[arg-type]
            except BufferError:
                self._producer.poll(POLL_S)

    def _flush(self) -> None:
        assert self._producer.flush(30) == 0, "records were not delivered to the broker"

    # --- workers --------------------------------------------------------------------------------------------------

    def environment(self, slot: int) -> dict[str, str]:
        """The environment of the worker in a slot."""
        return {
            **os.environ,
            "BATON_KAFKA_BOOTSTRAP": self.bootstrap,
            "BATON_SIGNING_KEYS_FILE": str(self.folder / "keys.json"),
            "BATON_REGISTRY_URI": f"file://{self.folder}/registry",
            "BATON_CACHE_DIR": str(self.folder / "cache"),
            "BATON_DEPLOYMENT": self.deployment,
            "BATON_SLOT": str(slot),
            "BATON_MODELS": self.model,
            "BATON_SESSION_TIMEOUT_MS": str(self.session_timeout_ms),
            "BATON_TRANSACTION_TIMEOUT_MS": "2000",
            "BATON_MAXIMUM_BATCH_RECORDS": "256",
            "BATON_METRICS_PORT": "0",  # the workers of several tests would want the same one
        }

    def start(self, slot: int = 0, plan: Mapping[str, object] | None = None) -> subprocess.Popen[bytes]:
        """Start ``baton worker`` in a slot; with a plan, one that dies, or misbehaves, as planned."""
        command = [sys.executable, "-m", "scoring", "worker"]
        environment = self.environment(slot)
        if plan is not None:
            command = [sys.executable, "-m", "tests.support.faulty_worker"]
            environment["FAULT_PLAN"] = json.dumps({**plan, "kills": str(self.kills)})
        with (self.folder / f"worker-{slot}.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.workers.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """SIGTERM, and the exit status."""
        process.send_signal(signal.SIGTERM)
        return process.wait(60)

    def log_of(self, slot: int) -> str:
        """The log of all workers of a slot."""
        return (self.folder / f"worker-{slot}.log").read_text(errors="replace")

    # --- looking --------------------------------------------------------------------------------------------------

    def outcomes_visible(self) -> int:
        """How far read_committed readers can read the two output topics (includes transaction markers)."""
        topics = (self.topics.predictions, self.topics.dead_letters)
        return sum(sum(end_offsets(self.bootstrap, topic)) for topic in topics)

    def feed_until_progress(self, records: int, timeout_s: float = 60.0) -> None:
        """Produce records, and wait until outcomes are visible that were not before."""
        before = self.outcomes_visible()  # asked behind the feeding, it could hold all of theirs already
        self.feed(records)
        wait_until(lambda: self.outcomes_visible() > before, timeout_s, "no further outcome became visible")

    def wait_until_done(self, timeout_s: float = 60.0) -> None:
        """Wait until every produced record has an outcome that a read_committed reader sees."""
        wait_until(
            lambda: len(self.outcomes()) >= self.produced, timeout_s, "some records have no outcome", every_s=0.5
        )

    def outcomes(self) -> list["Record"]:
        """All predictions and dead letters, read_committed."""
        return read_all(self.bootstrap, self.topics.predictions) + read_all(self.bootstrap, self.topics.dead_letters)

    def acknowledgements(self) -> list[dict[str, object]]:
        """The data of this model's acknowledgements."""
        found = [json.loads(record.value or b"{}") for record in read_all(self.bootstrap, ACKNOWLEDGEMENTS)]
        return [event["data"] for event in found if event["subject"] == self.model]

    def heartbeats(self) -> list[dict[str, object]]:
        """The data of this deployment's heartbeats."""
        found = [json.loads(record.value or b"{}") for record in read_all(self.bootstrap, WORKERS)]
        return [event["data"] for event in found if event["subject"].startswith(f"{self.deployment}/")]

    def state(self, slot: int = 0) -> dict[str, object]:
        """The model's status in the newest heartbeat of a slot; empty where there is none."""
        own = [beat for beat in self.heartbeats() if beat["worker"] == f"{self.deployment}/{slot}"]
        models = own[-1]["models"] if own else {}
        assert isinstance(models, dict)
        status = models.get(self.model, {})
        assert isinstance(status, dict)
        return status

    def wait_for_state(
        self, state: str, *, sequence: int | None = None, slot: int = 0, timeout_s: float = 60.0
    ) -> None:
        """Wait until a heartbeat of the slot says so."""
        wait_until(
            lambda: (
                self.state(slot).get("state") == state
                and (sequence is None or self.state(slot).get("sequence") == sequence)
            ),
            timeout_s,
            f"slot {slot} never said {state} {sequence or ''}: {self.state(slot)}\n{self.log_of(slot)[-3000:]}",
        )


class Record(msgspec.Struct, frozen=True):
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def create_topics(bootstrap: str, topics: Topics) -> None:
    """Create the control topics where they are missing, and a model's topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    existing = admin.list_topics(timeout=10).topics
    specs = [spec for spec in (*control_topics(), *model_topics(topics, PARTITIONS)) if spec.name not in existing]
    made = admin.create_topics([NewTopic(spec.name, spec.partitions, 1, config=dict(spec.settings)) for spec in specs])
    for future in made.values():
        future.result(20)


def end_offsets(bootstrap: str, topic: str, *, isolation: str = "read_committed") -> list[int]:
    """The last stable offset of each partition; that behind its last record with ``read_uncommitted``."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "isolation.level": isolation})
    try:
        partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        places = [TopicPartition(topic, number) for number in range(partitions)]
        return [consumer.get_watermark_offsets(place, timeout=10, cached=False)[1] for place in places]
    finally:
        consumer.close()


def read_all(
    bootstrap: str, topic: str, *, isolation: str = "read_committed", timeout_s: float = 180.0
) -> list[Record]:
    """Everything in a topic from its beginning to its end as of now, partition by partition in order."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": f"reader-{uuid4()}",
        "enable.auto.commit": False,
        "isolation.level": isolation,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
    }
    consumer = Consumer(settings)
    try:
        partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        records: list[Record] = []
        ended: set[int] = set()
        deadline = time.monotonic() + timeout_s
        while len(ended) < partitions:
            assert time.monotonic() < deadline, f"{topic} could not be read to its end within {timeout_s} s"
            for message in consumer.consume(5_000, 0.1):
                error = message.error()
                if error is None:
                    records.append(_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:  # of others the client recovers
                    ended.add(message.partition() or 0)
        return records
    finally:
        consumer.close()


def _record(message: object) -> Record:
    m = message
    return Record(
        m.topic(),  # type: ignore[attr-defined]
        m.partition(),  # type: ignore[attr-defined]
        m.offset(),  # type: ignore[attr-defined]
        m.timestamp()[1],  # type: ignore[attr-defined]
        m.key(),  # type: ignore[attr-defined]
        m.value(),  # type: ignore[attr-defined]
        list(m.headers() or []),  # type: ignore[attr-defined]
    )


def wait_until(condition: Callable[[], bool], timeout_s: float, otherwise: str, every_s: float = 0.05) -> None:
    """Wait for a condition; fails with ``otherwise``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{otherwise} (waited {timeout_s} s)"
        time.sleep(every_s)


def wait_until_settled(bootstrap: str, *topics: str, timeout_s: float = 60.0) -> None:
    """Wait until no transaction is open there: a commit is answered before its markers are in every partition."""

    def settled(topic: str) -> bool:
        return end_offsets(bootstrap, topic) == end_offsets(bootstrap, topic, isolation="read_uncommitted")

    wait_until(lambda: all(map(settled, topics)), timeout_s, f"a transaction is open in {topics}", every_s=0.1)


def kills_of(path: Path) -> Sequence[dict[str, object]]:
    """The kills that happened, with the number of transactions that were open."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
