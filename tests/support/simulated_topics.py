"""Topics in memory and a consumer of them, for tests of the sink that need no broker.

What only a broker can prove (the group, isolation, retention) is proven on one.
"""

# ruff: noqa: ARG002 - the signatures are the client's, and so are the names of its error codes

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from scoring.contract.errors import Unavailable
from scoring.predictions.stored import Record
from scoring.sink.partitions import Place

TIMESTAMP = (1, 1_772_368_200_000)


def message_of(record: Record) -> Message:
    """A record as a consumer gives it."""
    place = record.place
    return Message(
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        key=record.key,
        value=record.value,
        headers=cast("Any", list(record.headers) or None),
        timestamp=TIMESTAMP,
    )


class SimulatedTopics:
    """What the broker holds.

    Attributes:
        ids: the topics' ids.
        low: the first offset that a partition still holds, where that is not 0.
        markers: how many markers of transactions follow a partition's last record.
        away: whether it does not answer.
    """

    def __init__(self, *topics: str) -> None:
        self.ids: dict[str, str | None] = {topic: f"{topic}-id" for topic in topics}
        self.records: dict[Place, list[Message]] = defaultdict(list)
        self.low: dict[Place, int] = {}
        self.markers: dict[Place, int] = {}
        self.away = False

    def add(self, *records: Record) -> None:
        """Append records; their offsets are theirs."""
        for record in records:
            self.records[record.place.topic, record.place.partition].append(message_of(record))

    def make_again(self, topic: str) -> None:
        """Delete a topic, and make it again."""
        self.ids[topic] = f"{self.ids[topic]}-again"
        for place in list(self.records):
            if place[0] == topic:
                self.records[place].clear()

    def expire(self, place: Place, low: int) -> None:
        """Retention removes what is below an offset."""
        self.low[place] = low
        self.records[place] = [m for m in self.records[place] if (m.offset() or 0) >= low]

    def end(self, place: Place) -> int:
        """The offset behind a partition's last record and its markers."""
        found = self.records[place]
        last = (found[-1].offset() or 0) + 1 if found else self.low.get(place, 0)
        return last + self.markers.get(place, 0)

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str | None]:
        """What the broker is asked for."""
        if self.away:
            raise Unavailable("the broker is away")
        return {topic: self.ids.get(topic) for topic in topics}


class SimulatedConsumer:
    """One member of a group, with all partitions that it is given.

    Args:
        wait: called with the seconds that it waits for a record in vain.

    Attributes:
        stale: records that slip through whatever the consumer was told meanwhile.
        assigned: what it was told to read, and from where, time after time.
    """

    def __init__(self, topics: SimulatedTopics, wait: Callable[[float], None]) -> None:
        self.topics = topics
        self._wait = wait
        self.stale: list[Message] = []
        self.errors: list[KafkaError] = []
        self.assigned: list[dict[Place, int]] = []
        self._positions: dict[Place, int] = {}
        self._told_end: dict[Place, int] = {}
        self._on_assign: Callable[[Any, list[TopicPartition]], None] | None = None
        self._on_revoke: Callable[[Any, list[TopicPartition]], None] | None = None
        self._given: list[Place] = []

    def client(self) -> Consumer:
        """This, as the code under test takes it."""
        return cast("Consumer", self)

    def give(self, *places: Place) -> None:
        """The group gives these to this member at its next poll, and takes everything else away."""
        if self._on_revoke is not None and self._given:
            self._on_revoke(self, [TopicPartition(*place) for place in self._given])
        self._given = list(places)
        if self._on_assign is not None:
            self._on_assign(self, [TopicPartition(*place) for place in places])

    # --- the client's -----------------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._on_assign, self._on_revoke = on_assign, on_revoke

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._positions = {(p.topic, p.partition): p.offset for p in partitions}
        self._told_end = {}
        self.assigned.append(dict(self._positions))

    def unassign(self) -> None:
        self._positions = {}

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        if self.topics.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "the broker is away"))
        place = (partition.topic, partition.partition)
        return self.topics.low.get(place, 0), self.topics.end(place)

    def poll(self, timeout: float) -> Message | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, count: int, timeout: float) -> list[Message]:
        taken: list[Message] = []
        while len(taken) < count and (message := self._next()) is not None:
            taken.append(message)
        if not taken:
            self._wait(timeout)
        return taken

    def close(self) -> None:
        self._positions = {}

    def _next(self) -> Message | None:
        if self.errors:
            return Message(topic="", partition=0, offset=0, error=self.errors.pop(0))
        if self.stale:
            return self.stale.pop(0)
        if self.topics.away:
            return None
        for place in self._positions:
            if (found := self._next_of(place)) is not None:
                return found
        return None

    def _next_of(self, place: Place) -> Message | None:
        position, end = self._positions[place], self.topics.end(place)
        if not self.topics.low.get(place, 0) <= position <= end:
            self._positions[place] = end
            return self._event(place, position, KafkaError._AUTO_OFFSET_RESET)
        for message in self.topics.records[place]:
            offset = message.offset() or 0
            if offset >= position:
                self._positions[place] = offset + 1
                return message
        self._positions[place] = end
        if self._told_end.get(place) == end:
            return None
        self._told_end[place] = end
        return self._event(place, end, KafkaError._PARTITION_EOF)

    def _event(self, place: Place, offset: int, code: int) -> Message:
        return Message(topic=place[0], partition=place[1], offset=offset, error=KafkaError(code))


def restamped(record: Record, offset: int) -> Record:
    """The same record at another offset."""
    return msgspec.structs.replace(record, place=msgspec.structs.replace(record.place, offset=offset))
