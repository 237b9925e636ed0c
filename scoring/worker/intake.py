"""The intake: one micro-batch with what has to be captured at the very moment it is consumed (protocol B.2)."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import lt
from typing import Any, cast

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from scoring.worker.partitions import Partitions, Place
from scoring.worker.policy import BatchFailed, MustExit, because

log = structlog.get_logger()


class Batch(msgspec.Struct, frozen=True, eq=False):
    """The records that are scored and committed together.

    Attributes:
        by_topic: the records of each input topic, in the order they were consumed.
        first: per partition, the first offset.
        following: per partition, the offset behind the last.
        group: the group metadata of the assignment under which the records were consumed.
    """

    by_topic: dict[str, list[Message]]
    first: dict[Place, int]
    following: dict[Place, int]
    group: Any

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(map(len, self.by_topic.values()))

    def take_out(self, topic: str) -> dict[Place, int]:
        """Leave a topic's records out; returns the first offset of each of its partitions."""
        self.by_topic.pop(topic, None)
        places = [place for place in self.first if place[0] == topic]
        for place in places:
            del self.following[place]
        return {place: self.first.pop(place) for place in places}


def take(consumer: Consumer, partitions: Partitions, maximum_records: int, wait_s: float) -> Batch:
    """Wait up to ``wait_s`` for a record, then take what is there: no linger when idle, large batches under load.

    Records of partitions that are not admitted are left out: admission will seek to their committed offsets.

    Raises:
        BatchFailed: a partition's next record is gone, or the client went back to earlier ones; admission finds out
            what is left, and where to go on.
        MustExit: the consumer cannot go on.
    """
    first = consumer.poll(wait_s)
    messages = [] if first is None else [first, *consumer.consume(maximum_records - 1, 0)]
    return sort(messages, partitions, consumer.consumer_group_metadata())


def sort(messages: Sequence[Message], partitions: Partitions, group: Any) -> Batch:
    """Group records by topic and note the offsets. Each partition's records come in the order of their offsets."""
    if any(map(Message.error, messages)):
        messages = list(_without_errors(messages, partitions))
    # What has no error has a topic, a partition and an offset.
    places = cast("list[Place]", [(message.topic(), message.partition()) for message in messages])
    offsets = cast("list[int]", [message.offset() for message in messages])
    last = dict(zip(places, offsets, strict=True))
    strangers = {place for place in last if not _admitted(partitions, place)}
    if strangers:
        messages = [message for message, place in zip(messages, places, strict=True) if place not in strangers]
        return sort(messages, partitions, group)
    first = dict(zip(reversed(places), reversed(offsets), strict=True))
    _require_order(places, offsets, partitions)
    return Batch(_by_topic(messages, places), first, {place: offset + 1 for place, offset in last.items()}, group)


def _require_order(places: Sequence[Place], offsets: Sequence[int], partitions: Partitions) -> None:
    """No record may stand before one that was taken already.

    Seen with librdkafka 2.16 on a slow broker: a partition that was admitted and scored went back to its oldest record
    by itself, and all since then would have been scored again. The client's own question for the start of a new
    assignment is suspected, answered after admission's seek; it is no longer asked. Whatever else does the same: a
    record taken before is never taken again.

    Raises:
        BatchFailed: a partition's position went back.
    """
    reached: dict[Place, int] = {}
    begin = 0
    for place, run in groupby(places):
        own = offsets[begin : begin + len(list(run))]
        begin += len(own)
        due = reached[place] + 1 if place in reached else _due(partitions, place)
        if own[0] < due or not all(map(lt, own, own[1:])):
            raise BatchFailed(f"{place[0]}/{place[1]}: the client went back, {due} was due and {own[0]} came")
        reached[place] = own[-1]


def _due(partitions: Partitions, place: Place) -> int:
    partition = partitions.get(*place)
    return 0 if partition is None else partition.next_offset or 0


def _by_topic(messages: Sequence[Message], places: Sequence[Place]) -> dict[str, list[Message]]:
    topics = {topic for topic, _ in places}
    if len(topics) == 1:
        return {topics.pop(): list(messages)}
    by_topic: dict[str, list[Message]] = {}
    for message, (topic, _) in zip(messages, places, strict=True):
        by_topic.setdefault(topic, []).append(message)
    return by_topic


def _without_errors(messages: Sequence[Message], partitions: Partitions) -> Iterator[Message]:
    """The records among what the client gave back.

    Raises:
        BatchFailed, MustExit: as ``take``.
    """
    for message in messages:
        error = message.error()
        if error is None:
            yield message
            continue
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001  # the client's public name for it
            raise MustExit(f"the consumer cannot go on: {because(error)}") from KafkaException(error)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            if _admitted(partitions, (message.topic() or "", message.partition() or 0)):
                raise BatchFailed(f"the next record is no longer there: {error.str()}")
            continue  # admission has yet to say where to start
        log.warning("consumer.error", error=error.str(), code=error.name())


def _admitted(partitions: Partitions, place: Place) -> bool:
    assigned = partitions.get(*place)
    return assigned is not None and assigned.admitted
