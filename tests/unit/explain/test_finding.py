"""Finding an outcome by halving: in every order that a worker can leave behind, and without reading everything."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.acknowledgement import Position
from scoring.explain.finding import Outcomes, Standing, find, standing_in
from scoring.reading import Reader, Stored

TOPIC_ID = "now"


class Topic:
    """One partition in memory: offsets that hold the outcome of an input, something else, or nothing."""

    partitions = 1

    def __init__(self, content: Sequence[tuple[str, int] | str | None], low: int = 0) -> None:
        self._content = content
        self._low = low
        self.read = 0

    def bounds(self, partition: int) -> tuple[int, int]:
        assert partition == 0
        return self._low, len(self._content)

    def stretch(self, wanted: Mapping[int, tuple[int, int]]) -> Iterator[Stored]:
        start, end = wanted[0]
        for offset in range(max(start, self._low), min(end, len(self._content))):
            found = self._content[offset]
            if found is not None:
                self.read += 1
                yield Stored(0, offset, 0, None, json.dumps(found).encode(), [])


def reader(topic: Topic) -> Reader:
    return cast("Reader", topic)


def origin_of(stored: Stored) -> Position | None:
    found: Any = json.loads(stored.value or b"")
    if isinstance(found, str):
        return None
    return Position(topic="in", topic_id=found[0], partition=0, offset=found[1])


def place(offset: int) -> Position:
    return Position(topic="in", topic_id=TOPIC_ID, partition=0, offset=offset)


@st.composite
def topics(draw: st.DrawFn) -> list[tuple[str, int] | str | None]:
    """Outcomes in the order of their inputs, some of them elsewhere, with steps back as at least once leaves them."""
    chance = random.Random(draw(st.integers(0, 10_000)))
    scored = [offset for offset in range(chance.randint(0, 900)) if chance.random() > 0.1]
    content: list[tuple[str, int] | str | None] = [("before", n) for n in range(chance.choice([0, 0, 40, 700]))]
    at = 0
    while at < len(scored):
        content.append((TOPIC_ID, scored[at]))
        at += 1
        if chance.random() < 0.1:
            content += [None] * chance.randint(1, 3)
        if chance.random() < 0.03:
            content.append("somebody else's")
        if chance.random() < 0.01:
            at = max(0, at - chance.randint(1, 60))
    return content


@given(topics(), st.integers(0, 900))
def test_whatever_is_there_is_found_and_nothing_else(content: list[tuple[str, int] | str | None], wanted: int) -> None:
    found = find(reader(Topic(content)), place(wanted), origin_of, TOPIC_ID)
    if (TOPIC_ID, wanted) in content:
        assert found is not None
        assert content[found.offset] == (TOPIC_ID, wanted)
    else:
        assert found is None


def test_it_reads_a_few_hundred_records_of_a_million() -> None:
    topic = Topic([(TOPIC_ID, offset) for offset in range(1_000_000)])
    found = find(reader(topic), place(654_321), origin_of, TOPIC_ID)
    assert found is not None
    assert found.offset == 654_321
    assert topic.read < 300


@pytest.mark.parametrize(("offset", "standing"), [(5, Standing.BEFORE), (15, Standing.BETWEEN), (99, Standing.BEHIND)])
def test_a_record_without_an_outcome_stands_before_between_or_behind_those_that_have_one(
    offset: int, standing: Standing
) -> None:
    topic = Topic([None, (TOPIC_ID, 10), None, (TOPIC_ID, 20), "somebody else's"])
    assert standing_in(reader(topic), place(offset), origin_of) is standing
    assert standing_in(reader(Topic([])), place(offset), origin_of) is None


def test_where_there_is_no_outcome_a_record_stands_before_none() -> None:
    nothing = reader(Topic([]))
    assert Outcomes(nothing, nothing, TOPIC_ID).standing(place(5)) is Standing.ALONE
