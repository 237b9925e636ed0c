"""Kafka in memory, for tests of the loop that need no broker: one member, transactions, seeking, pausing, rebalances.

It does not fence and hides nothing: what only a broker can prove is proven on one.
"""

# ruff: noqa: ARG002 - the signatures are the client's

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from scoring.contract.errors import Unavailable
from scoring.worker.emit import Output
from scoring.worker.partitions import Place

Callback = Callable[[Any, list[TopicPartition]], None]


def kafka_error(*, retriable: bool = False, abortable: bool = False, fatal: bool = False) -> KafkaException:
    """An exception of the client with these flags."""
    return KafkaException(
        KafkaError(KafkaError.UNKNOWN, "planned", fatal=fatal, retriable=retriable, txn_requires_abort=abortable)
    )


def message(
    value: bytes | None,
    *,
    topic: str = "small.input",
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = b"key",
    headers: Any = None,
    error: KafkaError | None = None,
) -> Message:
    """A record as a consumer gives it."""
    return Message(topic=topic, partition=partition, offset=offset, key=key, value=value, headers=headers, error=error)


class SimulatedBroker:
    """Topics, committed offsets and planned failures.

    Attributes:
        calls: what was called, in order: ``consumer.seek small.input/0 5``, ``p0.commit``, …
        failures: by call, the exceptions that its next calls raise; None among them lets one call pass.
        gates: by call, what its next calls wait for.
        outputs: what was committed.
        on_flush: what a producer's flush calls, such as delivery reports.
        oldest: the first offset that a partition still holds, where that is not 0.
        refused: topics that take no records: transactions with some cannot be committed.
    """

    def __init__(self) -> None:
        self.inputs: dict[Place, list[Message]] = defaultdict(list)
        self.committed: dict[Place, tuple[int, str]] = {}
        self.oldest: dict[Place, int] = {}
        self.refused: set[str] = set()
        self.outputs: list[Output] = []
        self.calls: list[str] = []
        self.failures: dict[str, list[Exception | None]] = defaultdict(list)
        self.gates: dict[str, threading.Event] = {}
        self.on_flush: Callable[[], None] = lambda: None
        self.lock = threading.Lock()

    def call(self, name: str, what: object = "") -> None:
        with self.lock:
            self.calls.append(f"{name} {what}".strip())
            planned = self.failures.get(name)
            failure = planned.pop(0) if planned else None
        if name in self.gates:
            assert self.gates[name].wait(30), f"nobody opened the gate before {name}"
        if failure is not None:
            raise failure

    def feed(self, values: Iterable[bytes | None], *, topic: str = "small.input", partition: int = 0) -> None:
        records = self.inputs[topic, partition]
        for value in values:
            records.append(message(value, topic=topic, partition=partition, offset=len(records)))

    def consumer(self) -> "SimulatedConsumer":
        return SimulatedConsumer(self)

    def producers(self) -> tuple[Producer, Producer]:
        return cast("Producer", SimulatedProducer(self, "p0")), cast("Producer", SimulatedProducer(self, "p1"))


class SimulatedOffsets:
    """Stands for ``GroupOffsets``."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self.broker = broker

    def committed(self, places: Sequence[TopicPartition], timeout_s: float) -> list[TopicPartition]:
        assert timeout_s < 1.0, "the hot thread must not wait for the broker"
        try:
            self.broker.call("offsets.committed", _names(places))
        except KafkaException as error:
            raise Unavailable(str(error)) from error
        found = [(place, *self.broker.committed.get((place.topic, place.partition), (-1001, ""))) for place in places]
        return [TopicPartition(p.topic, p.partition, offset, metadata=metadata) for p, offset, metadata in found]


class SimulatedConsumer:
    """The group's only member."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self.broker = broker
        self.positions: dict[Place, int] = {}
        self.paused: set[Place] = set()
        self.topics: list[str] = []
        self.generation = 0
        self.member = "first"
        self._callbacks: dict[str, Callback] = {}
        self._events: list[tuple[str, list[TopicPartition]]] = []
        self._thread: int | None = None
        self._commits: list[tuple[KafkaError | None, list[TopicPartition]]] = []
        self.settings: dict[str, Any] = {}

    def made(self, settings: dict[str, Any]) -> Consumer:
        """As if it had been made with these settings."""
        self.settings = settings
        return self.as_consumer()

    def as_consumer(self) -> Consumer:
        return cast("Consumer", self)

    # --- what tests do --------------------------------------------------------------------------------------------

    def come(self, *places: Place) -> None:
        """Partitions are assigned at the next poll."""
        self._events.append(("assign", [TopicPartition(*place) for place in places]))

    def go(self, *places: Place, lost: bool = False) -> None:
        """Partitions are revoked, or lost, at the next poll."""
        self._events.append(("lost" if lost else "revoke", [TopicPartition(*place) for place in places]))

    # --- what the worker calls ------------------------------------------------------------------------------------

    def subscribe(self, topics: list[str], *, on_assign: Callback, on_revoke: Callback, on_lost: Callback) -> None:
        self.broker.call("consumer.subscribe", ",".join(topics))
        self._callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}
        self._resubscribe(topics)

    def unsubscribe(self) -> None:
        self.broker.call("consumer.unsubscribe")
        self._resubscribe([])

    def _resubscribe(self, topics: list[str]) -> None:
        gone = [place for place in self.positions if place[0] not in topics]
        if gone:
            self.go(*gone)
        self.come(*[place for place in sorted(self.broker.inputs) if place[0] in set(topics) - set(self.topics)])
        self.topics = topics

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        self.positions.update({(place.topic, place.partition): 0 for place in places})

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        for place in places:
            self.positions.pop((place.topic, place.partition), None)

    def pause(self, places: Sequence[TopicPartition]) -> None:
        self.broker.call("consumer.pause", _names(places))
        self.paused |= {(place.topic, place.partition) for place in places}

    def resume(self, places: Sequence[TopicPartition]) -> None:
        self.broker.call("consumer.resume", _names(places))
        self.paused -= {(place.topic, place.partition) for place in places}

    def seek(self, place: TopicPartition) -> None:
        self.broker.call("consumer.seek", f"{place.topic}/{place.partition} {place.offset}")
        self.positions[place.topic, place.partition] = place.offset

    def get_watermark_offsets(
        self, place: TopicPartition, timeout: float | None = None, *, cached: bool = False
    ) -> tuple[int, int]:
        if not cached:
            self.broker.call("consumer.watermarks", _names([place]))
        where = place.topic, place.partition
        return self.broker.oldest.get(where, 0), len(self.broker.inputs[where])

    def position(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, OFFSET_INVALID) for place in places]

    def memberid(self) -> str:
        return self.member

    def consumer_group_metadata(self) -> str:
        return f"generation {self.generation}"

    def poll(self, timeout: float) -> Message | None:
        self._only_one_thread()
        self.broker.call("consumer.poll")
        while self._events:
            what, places = self._events.pop(0)
            self.generation += 1
            self._callbacks[what](self, places)
        while self._commits:
            self.settings["on_commit"](*self._commits.pop(0))
        found = self.consume(1, 0)
        if not found:
            threading.Event().wait(min(timeout, 0.001))
            return None
        return found[0]

    def consume(self, count: int, timeout: float) -> list[Message]:
        found: list[Message] = []
        for place in sorted(self.positions.keys() - self.paused):
            start = self.positions[place]
            taken = self.broker.inputs[place][start : start + count - len(found)]
            self.positions[place] += len(taken)
            found += taken
        if not found and count:
            threading.Event().wait(min(timeout, 0.001))
        return found

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self._only_one_thread()
        assert asynchronous, "the hot thread must not wait for the broker"
        try:
            self.broker.call("consumer.commit")
        except KafkaException as failure:
            self._commits.append((failure.args[0], offsets))
            return
        self.broker.committed.update({(o.topic, o.partition): (o.offset, o.metadata or "") for o in offsets})
        self._commits.append((None, offsets))

    def assignment(self) -> list[TopicPartition]:
        self._only_one_thread()
        return [TopicPartition(*place) for place in self.positions]

    def close(self) -> None:
        self.broker.call("consumer.close")

    def _only_one_thread(self) -> None:
        """The client lets one thread at a time in, and does not queue: a second one starves behind the polls."""
        self._thread = self._thread or threading.get_ident()
        assert self._thread == threading.get_ident(), "two threads call the consumer"


class SimulatedProducer:
    """A transactional producer; without transactions, what it flushes is there."""

    def __init__(self, broker: SimulatedBroker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.records: list[Output] = []
        self.offsets: list[TopicPartition] = []
        self.in_transaction = False

    def begin_transaction(self) -> None:
        self.broker.call(f"{self.name}.begin")
        self.in_transaction = True

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Any = None) -> None:
        self.broker.call(f"{self.name}.produce", topic)
        self.records.append(Output(topic, partition, key, value, headers))

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        self.broker.call(f"{self.name}.flush")
        self.broker.on_flush()
        if not self.in_transaction:
            self.broker.outputs += self.records
            self.records = []
        return 0

    def purge(self, *, in_flight: bool) -> None:
        self.broker.call(f"{self.name}.purge")
        self.records = []

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], group: str, timeout: float) -> None:
        self.broker.call(f"{self.name}.send_offsets", group)
        self.offsets = offsets

    def commit_transaction(self, timeout: float) -> None:
        self.broker.call(f"{self.name}.commit")
        if any(record.topic in self.broker.refused for record in self.records):
            raise kafka_error(abortable=True)
        self.broker.outputs += self.records
        self.broker.committed.update({(o.topic, o.partition): (o.offset, o.metadata or "") for o in self.offsets})
        self.records, self.offsets = [], []

    def abort_transaction(self, timeout: float) -> None:
        self.broker.call(f"{self.name}.abort")
        self.records, self.offsets = [], []


def _names(places: Sequence[TopicPartition]) -> str:
    return ",".join(f"{place.topic}/{place.partition}" for place in places)
