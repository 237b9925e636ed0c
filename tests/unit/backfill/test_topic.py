"""A part of a partition is read to its end, whatever ends the client tells of before."""

from collections.abc import Sequence
from typing import Any

import pytest

from scoring.backfill.plan import Offsets
from scoring.backfill.topic import TopicRecords
from scoring.contract.errors import Unavailable
from tests.support.scripted_consumer import Said, Scripted, end_at

PART = Offsets(partition=0, first=100, end=110)
RECORDS = [Said(offset) for offset in range(100, 110)]


def read(*answers: Sequence[Said]) -> list[int | None]:
    consumer: Any = Scripted(answers)
    topic = TopicRecords({"bootstrap.servers": "127.0.0.1:9"}, "t", consumer.clock_s, lambda _: consumer)
    return [message.offset() for message in topic.read(PART)]


@pytest.mark.parametrize("early", [end_at(5), end_at(100), end_at(109), end_at(500, partition=1)])
def test_an_end_before_the_parts_own_ends_nothing(early: Said) -> None:
    assert read([early], [], [], [], [], RECORDS) == [*range(100, 110)]


def test_an_end_before_the_parts_own_in_the_middle_of_it_ends_nothing() -> None:
    assert read(RECORDS[:4], [end_at(104)], [], [], RECORDS[4:]) == [*range(100, 110)]


def test_markers_at_the_end_of_a_part_are_nothing_to_wait_for() -> None:
    assert read(RECORDS[:8], [end_at(110)]) == [*range(100, 108)]
    assert read([end_at(110)]) == []


def test_a_part_whose_end_nobody_tells_of_is_an_outage_and_not_a_part_with_fewer_records() -> None:
    with pytest.raises(Unavailable, match="no answer within 30 s"):
        read(RECORDS[:8], [end_at(108)])
