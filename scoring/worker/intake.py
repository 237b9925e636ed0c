"""The intake: one micro-batch with what has to be captured at the very moment it is consumed (protocol B.2)."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from scoring.service.ending import MustExit
from scoring.worker.partitions import Partitions, Place
from scoring.worker.policy import BatchFailed, because

log = structlog.get_logger()


class Batch(msgspec.Struct, eq=False):
    """The records that are committed together; they may be scored in several goes.

    Attributes:
        by_topic: the records of each input topic, in the order they were consumed.
        first: per partition, the first offset.
        following: per partition, the offset behind the last.
        group: the group metadata of the assignment under which the first records were consumed; none is of a later one,
            for a rebalance ends the batch.
    """

    by_topic: dict[str, list[Message]]
    first: dict[Place, int]
    following: dict[Place, int]
    group: Any

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(map(len, self.by_topic.values()))

    def add(self, more: "Batch") -> None:
        """Take in what was consumed after it."""
        for topic, messages in more.by_topic.items():
            self.by_topic.setdefault(topic, []).extend(messages)
        self.first = more.first | self.first
        self.following |= more.following

    def take_out(self, topic: str) -> dict[Place, int]:
        """Leave a topic's records out; returns the first offset of each of its partitions."""
        self.by_topic.pop(topic, None)
        places = [place for place in self.first if place[0] == topic]
        for place in places:
            del self.following[place]
        return {place: self.first.pop(place) for place in places}


def take(consumer: Consumer, partitions: Partitions, maximum_records: int, wait_s: float) -> Batch:
    """Wait up to ``wait_s`` for a record, then take what is there: no linger when idle, large batches under load.

    Records of partitions that are not admitted are left out: admission will seek to their committed offsets. So are all
    while the group knows this worker by another name than when it gave it its partitions: it was put out, somebody
    else may have them, and what is committed in the new name would count (seen with Kafka 4.2 and librdkafka 2.16,
    which tells of that only once the group is complete again).

    Raises:
        BatchFailed: a partition's next record is gone, or the client went back to earlier ones; admission finds out
            what is left, and where to go on.
        MustExit: the consumer cannot go on.
    """
    first = consumer.poll(wait_s)
    messages = [] if first is None else [first, *consumer.consume(maximum_records - 1, 0)]
    group = consumer.consumer_group_metadata()
    # A name is never given twice, so if it is still the same now, it is the one in the metadata too.
    if partitions.belong_to(consumer.memberid()):
        return sort(messages, partitions, group)
    partitions.rebalanced |= any(partition.admitted for partition in partitions.all())
    return Batch({}, {}, {}, group)


def take_more(consumer: Consumer, partitions: Partitions, group: Any, room: int, wait_s: float) -> Batch:
    """Take what comes within ``wait_s``, at most ``room`` records, for a batch of this group metadata; see ``take``."""
    first = consumer.poll(0)  # also for its callbacks
    messages = [] if first is None else [first]
    messages += consumer.consume(room - len(messages), wait_s)
    return sort(messages, partitions, group)


def sort(messages: Sequence[Message], partitions: Partitions, group: Any) -> Batch:
    """Group records by topic and note the offsets. Each partition's records come in the order of their offsets.

    Raises:
        BatchFailed, MustExit: as ``take``.
    """
    if any(map(Message.error, messages)):
        messages = list(_without_errors(messages, partitions))
    batch = Batch({}, {}, {}, group)
    for topic, found in _by_topic(messages).items():
        if own := _noted(topic, found, partitions, batch):
            batch.by_topic[topic] = own
    return batch


def _noted(topic: str, found: list[Message], partitions: Partitions, batch: Batch) -> list[Message]:
    """The records of one topic's admitted partitions, with their offsets noted in the batch.

    No record may stand before one that was taken already. Seen with librdkafka 2.16 on a slow broker: a partition that
    was admitted and scored went back to its oldest record by itself, and all since then would have been scored again.
    Perhaps the client's own question for the start of a new assignment is answered after admission's seek; whatever it
    is, a record taken before is never taken again.

    Raises:
        BatchFailed: a partition's position went back.
    """
    due: dict[int, int | None] = {}
    for message in found:
        number, offset = cast("int", message.partition()), cast("int", message.offset())  # without an error it has both
        if number not in due:
            due[number] = _due(partitions, (topic, number))
            if due[number] is not None:
                batch.first[topic, number] = offset
        expected = due[number]
        if expected is None:
            continue
        if offset < expected:
            raise BatchFailed(f"{topic}/{number}: the client went back, {expected} was due and {offset} came")
        due[number] = offset + 1
    batch.following.update({(topic, number): offset for number, offset in due.items() if offset is not None})
    if None not in due.values():
        return found
    return [message for message in found if due[cast("int", message.partition())] is not None]


def _due(partitions: Partitions, place: Place) -> int | None:
    """The offset from which on records count; None where the partition is not admitted."""
    partition = partitions.get(*place)
    return (partition.next_offset or 0) if partition is not None and partition.admitted else None


def _by_topic(messages: Sequence[Message]) -> dict[str, list[Message]]:
    topics = list(map(Message.topic, messages))
    if len(set(topics)) == 1:
        return {str(topics[0]): list(messages)}
    by_topic: dict[str, list[Message]] = {}
    for message, topic in zip(messages, topics, strict=True):
        by_topic.setdefault(str(topic), []).append(message)
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
            if _due(partitions, (message.topic() or "", message.partition() or 0)) is not None:
                raise BatchFailed(f"the next record is no longer there: {error.str()}")
            continue  # admission has yet to say where to start
        log.warning("consumer.error", error=error.str(), code=error.name())
