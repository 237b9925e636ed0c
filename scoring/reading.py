"""Reads records of any topic by their places: one, or a stretch of a partition; only what is committed."""

# ruff: noqa: SLF001 - the names of the client's own error codes begin with an underscore

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Self, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from scoring.contract.clock import epoch_ms
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.kafka import (
    TIMEOUT_S,
    Options,
    RecordHeaders,
    admin_client,
    baton_error,
    client_options,
    headers_of,
    kafka_errors,
    partitions_of,
    topic_ids,
)

_POLL_S = 0.5
_RECORDS = 500
# Enough for most records; a larger one comes all the same, alone.
_FETCH_BYTES = 262_144
_LOOKED_AHEAD = 100


class Stored(msgspec.Struct, frozen=True):
    """A record as it stands in a topic.

    Attributes:
        timestamp_ms: by the topic; negative where it has none.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders

    @classmethod
    def of(cls, message: Message) -> Self:
        """The record in a message that has no error."""
        place = cast("tuple[int, int]", (message.partition(), message.offset()))
        return cls(*place, message.timestamp()[1], message.key(), message.value(), headers_of(message))


class Reader:
    """Reads one topic. A context manager; not for use by several threads at once.

    Args:
        within_s: how long the broker may keep silent.

    Attributes:
        topic_id: tells a recreated topic from the one before it.
        partitions: how many there are.

    Raises:
        ConfigurationError: there is no such topic, or no right to read it.
        Unavailable: the broker cannot be reached.
    """

    def __init__(
        self,
        kafka: Options,
        topic: str,
        *,
        within_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        found = topic_ids(admin_client(kafka), [topic])[topic]
        if found is None:
            raise ConfigurationError(f"Kafka has no topic {topic}; run `baton topics create`")
        self.topic = topic
        self.topic_id = found
        self.partitions = partitions_of(kafka, topic)
        self._within_s = within_s
        self._clock = clock
        with kafka_errors(f"opening a reader of {topic}"):
            self._consumer = Consumer(
                client_options(
                    kafka,
                    group_id=f"baton-reader-{uuid.uuid4().hex}",  # asked for by the client; no group is ever joined
                    enable_auto_commit=False,
                    isolation_level="read_committed",
                    enable_partition_eof=True,
                    auto_offset_reset="earliest",
                    fetch_wait_max_ms=50,
                    fetch_message_max_bytes=_FETCH_BYTES,
                    # Single records are sought here and there: nothing is read far ahead, and where something was
                    # the client must not wait for a second before it fetches at the next place.
                    queued_min_messages=1,
                    fetch_queue_backoff_ms=5,
                )
            )

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the one behind the last that can be read now."""
        with kafka_errors(f"asking for the ends of {self.topic}"):
            return self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=self._within_s)

    def offset_at(self, partition: int, moment: datetime) -> int:
        """The offset of the first record whose timestamp is not before ``moment``; the end where there is none."""
        place = TopicPartition(self.topic, partition, epoch_ms(moment))
        with kafka_errors(f"asking {self.topic} for a time"):
            (found,) = self._consumer.offsets_for_times([place], timeout=self._within_s)
        return found.offset if found.offset >= 0 else self.bounds(partition)[1]

    def at(self, partition: int, offset: int) -> Stored | None:
        """The record at exactly that place; None where it is gone, not there yet, or never was committed."""
        low, high = self.bounds(partition) if 0 <= partition < self.partitions else (0, 0)
        if not low <= offset < high:
            return None
        found = self.first(partition, offset, offset + 1)
        return found if found is not None and found.offset == offset else None

    def why_nothing(self, partition: int, offset: int) -> str:
        """Why there is no record at a place (see ``at``), in words that follow its name."""
        if not 0 <= partition < self.partitions:
            return f"{self.topic} has {self.partitions} partitions, 0 to {self.partitions - 1}"
        low, high = self.bounds(partition)
        if offset < low:
            return f"retention has deleted it: this partition of {self.topic} begins at offset {low} now"
        if offset >= high:
            return f"there is nothing yet: this partition of {self.topic} can be read up to offset {high - 1} now"
        following = self.first(partition, offset, min(high, offset + _LOOKED_AHEAD))
        behind = "" if following is None else f"; the next record stands at offset {following.offset}"
        return f"no record stands there: a transaction's marker took the offset, or it was aborted or compacted{behind}"

    def first(self, partition: int, start: int, end: int) -> Stored | None:
        """The first record in ``[start, end)``; None where there is none: markers of transactions take offsets too."""
        return next(self.stretch({partition: (start, end)}), None)

    def stretch(self, wanted: Mapping[int, tuple[int, int]]) -> Iterator[Stored]:
        """The records of ``[start, end)`` of each partition; a partition's in their order.

        Raises:
            Unavailable: the broker does not deliver them in time.
        """
        waiting = {partition: end for partition, (start, end) in wanted.items() if start < end}
        starts = [TopicPartition(self.topic, partition, wanted[partition][0]) for partition in waiting]
        with kafka_errors(f"reading {self.topic}"):
            self._consumer.assign(starts)
            self._consumer.resume(starts)  # what was paused when it was let go of comes back paused
        deadline_s = self._clock() + self._within_s
        while waiting:
            for message in self._consume():
                yield from self._taken(message, waiting)
                deadline_s = self._clock() + self._within_s
            if self._clock() > deadline_s:
                raise Unavailable(f"Kafka, while reading {self.topic}: no answer within {self._within_s:g} s")

    def _consume(self) -> Sequence[Message]:
        with kafka_errors(f"reading {self.topic}"):
            first = self._consumer.poll(_POLL_S)  # to consume many waits until there are as many
            return [] if first is None else [first, *self._consumer.consume(_RECORDS, 0)]

    def _taken(self, message: Message, waiting: dict[int, int]) -> Iterator[Stored]:
        error, partition = message.error(), cast("int", message.partition())
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                # Where the last offsets are markers of transactions, nothing else tells that the end was reached. An
                # end before the one that is waited for is a late word on something else: records are still to come.
                if partition in waiting and cast("int", message.offset()) >= waiting[partition]:
                    self._finish(partition, waiting)
            elif not (error.retriable() or error.code() in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}):
                raise baton_error(f"reading {self.topic}", error)
        elif partition in waiting:
            offset, end = cast("int", message.offset()), waiting[partition]
            if offset < end:
                yield Stored.of(message)
            if offset + 1 >= end:
                self._finish(partition, waiting)

    def _finish(self, partition: int, waiting: dict[int, int]) -> None:
        """Nothing more is wanted of a partition; the others go on where they are."""
        waiting.pop(partition, None)
        with kafka_errors(f"reading {self.topic}"):
            if waiting:
                self._consumer.pause([TopicPartition(self.topic, partition)])
            else:
                self._consumer.unassign()

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
