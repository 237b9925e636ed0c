"""Reads a round's outcomes while it goes on, as any read_committed reader would; shares no code with the worker."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Self
from uuid import uuid4

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from tests.faults.daemon.field import Field
from tests.support.arena import PARTITIONS


class Origin(msgspec.Struct):
    """The input record that a prediction names."""

    topic: str
    topic_id: str
    partition: int
    offset: int


class Said(msgspec.Struct):
    """A prediction's value, as far as the oracle judges it."""

    score: float
    decision: bool
    version: str
    sequence: int
    manifest_digest: str
    input: Origin
    pass_through: dict[str, Any]
    lookups: dict[str, dict[str, float | None]] = {}


class Outcome(msgspec.Struct, gc=False):
    """One outcome: where it stands, what it is of, and what it carries. ``said`` is None for a dead letter."""

    place: int  # of the output, in its partition
    into: int  # the output's partition
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    value: bytes | None
    said: Said | None


class Reader:
    """Follows both output topics in a thread. A context manager.

    Attributes:
        longest_gap_s: the longest time for which a partition with records to score had no new outcome.
    """

    def __init__(self, field: Field, bootstrap: str | None = None) -> None:
        self._field = field
        self._decode = msgspec.json.Decoder(Said).decode
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap or field.bootstrap,
                "group.id": f"oracle-{uuid4().hex}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": 65_536,
            }
        )
        topics = (field.topics.predictions, field.topics.dead_letters)
        self._next = {(topic, number): 0 for topic in topics for number in range(PARTITIONS)}
        self._ended_places: set[tuple[str, int]] = set()
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seen_s = [time.monotonic()] * PARTITIONS
        self.predictions: list[Outcome] = []
        self.letters: list[Outcome] = []
        self.count = [0] * PARTITIONS
        self.longest_gap_s = 0.0
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        self._consumer.close()

    @property
    def total(self) -> int:
        """How many outcomes were seen so far."""
        return len(self.predictions) + len(self.letters)

    def reset_gap(self) -> None:
        """Begin to measure anew."""
        self._seen_s = [time.monotonic()] * PARTITIONS
        self.longest_gap_s = 0.0

    def finish(self, timeout_s: float = 60.0) -> None:
        """Read on to the present end of both topics; no worker runs any more."""
        self._stopped.set()
        self._thread.join(30)
        if self.failure is not None:
            raise self.failure
        # Assigned again, the client tells anew where each partition ends.
        self._ended_places.clear()
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])
        deadline = time.monotonic() + timeout_s
        while len(self._ended_places) < len(self._next):
            assert time.monotonic() < deadline, "the output topics could not be read to their ends"
            self._take(0.2)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._take(0.05)
                self._look_at_gaps()
        except BaseException as error:
            self.failure = error

    def _take(self, wait_s: float) -> None:
        for message in self._consumer.consume(2_000, wait_s):
            error = message.error()
            if error is None:
                self._note(message)
                self._next[_place(message)] = (message.offset() or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended_places.add(_place(message))
            elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise AssertionError(f"the oracle cannot read on: {error.str()}")

    def _note(self, message: Any) -> None:
        headers, value = message.headers() or (), message.value()
        if message.topic() == self._field.topics.predictions:
            said = self._decode(value)
            found = Outcome(
                message.offset(), message.partition(), said.input.partition, said.input.offset,
                message.key(), headers, None, said,
            )  # fmt: skip
            self.predictions.append(found)
        else:
            told = dict(headers)
            partition, offset = int(told["baton-dead-letter-partition"]), int(told["baton-dead-letter-offset"])
            found = Outcome(
                message.offset(), message.partition(), partition, offset, message.key(), headers, value, None
            )
            self.letters.append(found)
        self.count[found.partition] += 1
        self._seen_s[found.partition] = time.monotonic()

    def _look_at_gaps(self) -> None:
        now_s = time.monotonic()
        for partition in range(PARTITIONS):
            if self.count[partition] >= self._field.ends[partition]:
                self._seen_s[partition] = now_s
            self.longest_gap_s = max(self.longest_gap_s, now_s - self._seen_s[partition])


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0
