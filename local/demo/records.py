"""Reads whole topics as a ``read_committed`` reader sees them. Knows nothing of the daemon."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from local.demo.errors import DemoFailed

_POLL_S = 0.5
_POLL_RECORDS = 10_000


class Unreadable(DemoFailed):
    """A topic could not be read from its beginning to its end."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic. ``timestamp_ms`` is Kafka's own, milliseconds since 1970."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def header(self, name: str) -> str | None:
        """The last header of that name as text, None where there is none."""
        found = [value for header, value in self.headers if header == name and value is not None]
        return found[-1].decode() if found else None


def read_topic(kafka: Mapping[str, Any], topic: str, *, limit_s: float = 60.0) -> list[Record]:
    """Every committed record of ``topic``, in order of partition and offset.

    The end is the high watermark at the call, so an open transaction is waited for, not overlooked.

    Raises:
        Unreadable: the topic is unknown, has lost its beginning to retention, or was not read within ``limit_s``.
    """
    options = {
        **kafka,
        "group.id": "baton-demo-reader",  # never joined: partitions are assigned by hand
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 50,
    }
    ends = _ends(kafka, topic)
    consumer = Consumer(options)
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        found = _read_to(consumer, topic, ends, time.monotonic() + limit_s)
    finally:
        consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _ends(kafka: Mapping[str, Any], topic: str) -> dict[int, int]:
    consumer = Consumer({**kafka, "group.id": "baton-demo-reader", "isolation.level": "read_uncommitted"})
    try:
        known = consumer.list_topics(topic, timeout=10).topics[topic]
        if known.error is not None or not known.partitions:
            raise Unreadable(f"topic {topic}: {known.error or 'there is no such topic'}")
        marks = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in known.partitions}
    except KafkaException as error:
        raise Unreadable(f"topic {topic}: {error}") from error
    finally:
        consumer.close()
    shortened = sorted(p for p, mark in marks.items() if mark[0] > 0)
    if shortened:
        raise Unreadable(f"topic {topic}: the beginning of partitions {shortened} is gone; nothing can be proved")
    return {partition: mark[1] for partition, mark in marks.items()}


def _read_to(consumer: Consumer, topic: str, ends: Mapping[int, int], deadline: float) -> list[Record]:
    found: list[Record] = []
    unfinished = {partition for partition, end in ends.items() if end > 0}
    while unfinished:
        if time.monotonic() > deadline:
            raise Unreadable(
                f"topic {topic}: partitions {sorted(unfinished)} were not read in time (open transaction?)"
            )
        for message in consumer.consume(_POLL_RECORDS, _POLL_S):
            partition, offset = _place(message)
            error = message.error()
            if error is None and offset < ends[partition]:
                found.append(_record(message, partition, offset))
            elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise Unreadable(f"topic {topic}: {error}")
            if (offset if error else offset + 1) >= ends[partition]:
                unfinished.discard(partition)
    return found


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise Unreadable(f"a message without its place: {message.error()}")
    return partition, offset


def _record(message: Message, partition: int, offset: int) -> Record:
    pairs: list[tuple[str, str | bytes | None]] = list(message.headers() or ())  # type: ignore[arg-type]
    headers = tuple((name, _bytes(value)) for name, value in pairs)
    return Record(partition, offset, message.timestamp()[1], _bytes(message.key()), _bytes(message.value()), headers)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
