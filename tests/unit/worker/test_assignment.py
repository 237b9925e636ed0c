"""Admission that fails again and again is said, and forgotten when it succeeds."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scoring.contract.errors import Unavailable
from scoring.worker import assignment
from scoring.worker.assignment import TRIES_BEFORE_WARNING, Assignment
from scoring.worker.models import ModelTable
from scoring.worker.partitions import Partitions
from scoring.worker.status import statuses


class Refusing:
    """Stands for the consumer, the topics and the offsets: the group's offsets may not be read, until they may."""

    allowed = False

    def committed(self, places: Sequence[TopicPartition], _timeout_s: float) -> list[TopicPartition]:
        if not self.allowed:
            raise Unavailable("committed offsets cannot be read: Group authorization failed")
        return [TopicPartition(place.topic, place.partition, 0) for place in places]

    def topic_id(self, topic: str) -> str:
        return f"id of {topic}"

    def partitions(self, topic: str) -> int:
        return len(topic)

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        return 0, 0

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Refusing:
    monkeypatch.setattr(assignment, "ADMISSION_TIMEOUT_S", 0.0)
    return Refusing()


def assigned(consumer: Refusing) -> tuple[Assignment, Partitions]:
    made = Assignment(cast("Consumer", consumer), ModelTable(), consumer, consumer, lambda *_: False)
    made.partitions.assign([("small.input", 0)])
    return made, made.partitions


def test_offsets_that_cannot_be_read_for_long_are_counted_until_they_can(consumer: Refusing) -> None:
    made, partitions = assigned(consumer)
    for _ in range(TRIES_BEFORE_WARNING):
        made.admit()
    (partition,) = partitions.all()
    assert partition.unreadable == TRIES_BEFORE_WARNING
    assert not partition.admitted
    consumer.allowed = True
    made.admit()
    assert partition.unreadable == 0
    assert partition.next_offset == 0


class Leaderless(Refusing):
    """Partition 0 has no leader; what else is asked is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = True
        self.asked: list[list[int]] = []

    def committed(self, places: Sequence[TopicPartition], _timeout_s: float) -> list[TopicPartition]:
        self.asked.append([place.partition for place in places])
        return super().committed(places, _timeout_s)

    def get_watermark_offsets(self, *asked: Any, **_: object) -> tuple[int, int]:
        if asked[0].partition == 0:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return 0, 0


def test_a_partition_without_a_leader_keeps_no_other_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "ADMISSION_TIMEOUT_S", 0.0)
    made, partitions = assigned(Leaderless())
    partitions.assign([("small.input", 1)])
    made.admit()
    first, second = partitions.all()
    assert (first.next_offset, first.unreadable) == (None, 1)
    assert second.next_offset == 0


def test_partitions_that_stayed_are_asked_for_without_those_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "ADMISSION_TIMEOUT_S", 0.0)
    consumer = Leaderless()
    made, partitions = assigned(consumer)
    partitions.assign([("small.input", 1)])
    made.admit()
    partitions.assign([("small.input", 2)])
    made.go_back()
    made.admit()
    assert consumer.asked == [[0, 1], [1], [0, 2]]


def test_a_table_without_live_models_has_no_status() -> None:
    assert statuses(ModelTable(), Partitions(), {}) == {}
