"""Reads the end of a dead-letter topic: what is known of each letter, and never its content."""

import time
import uuid

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from scoring.contract.dead_letter import DeadLetter
from scoring.kafka import Options, admin_client, client_options, headers_of, kafka_errors, partitions_of, topic_ids

_ASK_S = 3.0


class Letter(msgspec.Struct, frozen=True):
    """A dead letter without its content.

    Attributes:
        size_bytes: of its value.
    """

    letter: DeadLetter
    size_bytes: int


def newest_letters(kafka: Options, topic: str, each: int, within_s: float) -> tuple[int, list[Letter]] | None:
    """How many records a topic holds, and the newest ``each`` of every partition; None where there is no such topic.

    Raises:
        Unavailable: the broker cannot be reached.
        ConfigurationError: access is refused.
    """
    if topic_ids(admin_client(kafka), [topic], _ASK_S)[topic] is None:
        return None
    count = partitions_of(kafka, topic, _ASK_S)
    with kafka_errors(f"reading {topic}"):
        consumer = Consumer(
            client_options(
                kafka,
                group_id=f"baton-reader-{uuid.uuid4().hex}",  # asked for by the client; no group is ever joined
                enable_auto_commit=False,
                isolation_level="read_committed",
                enable_partition_eof=True,
                fetch_message_max_bytes=1_000_000,
            )
        )
        try:
            return _read(consumer, [TopicPartition(topic, number) for number in range(count)], each, within_s)
        finally:
            consumer.close()


def _read(consumer: Consumer, places: list[TopicPartition], each: int, within_s: float) -> tuple[int, list[Letter]]:
    bounds = [consumer.get_watermark_offsets(place, timeout=_ASK_S) for place in places]
    total = sum(high - low for low, high in bounds)
    starts = [
        TopicPartition(place.topic, place.partition, max(low, high - each))
        for place, (low, high) in zip(places, bounds, strict=True)
        if high > low
    ]
    if not starts:
        return 0, []
    consumer.assign(starts)
    return total, _until_the_ends(consumer, len(starts), within_s)


def _until_the_ends(consumer: Consumer, partitions: int, within_s: float) -> list[Letter]:
    found: list[Letter] = []
    ended: set[int | None] = set()
    deadline_s = time.monotonic() + within_s
    while len(ended) < partitions and time.monotonic() < deadline_s:
        for message in consumer.consume(200, 0.2):
            error = message.error()
            if error is None:
                found += _letter(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's own name
                ended.add(message.partition())
            elif not error.retriable():
                raise KafkaException(error)
    return found


def _letter(message: Message) -> list[Letter]:
    """What its headers say; nothing where it is no dead letter."""
    try:
        return [Letter(DeadLetter.from_headers(headers_of(message)), len(message.value() or b""))]
    except ValueError:
        return []
