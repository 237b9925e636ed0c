"""Which prediction of a key counts."""

from itertools import permutations
from typing import Any

import pytest

from scoring.predictions.latest import newer, newest_per_key
from scoring.predictions.rows import PredictionRow, prediction_row
from tests.support.predictions import INPUT, moved, predicted


def row(offset: int, **changes: Any) -> PredictionRow:
    return prediction_row(predicted(offset, **changes))


def test_of_one_partition_the_highest_input_offset_counts_whatever_the_order_of_arrival_and_the_clock() -> None:
    rows = [row(10 + n, input_offset=n, later_s=-n) for n in range(4)]
    for order in permutations(rows):
        assert newest_per_key(order) == [rows[3]]


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"input_partition": 1, "input_offset": 3},
        {"input": moved(INPUT, topic_id="made-again", offset=3)},
    ],
)
def test_of_different_partitions_or_topics_the_one_that_was_scored_later_counts(elsewhere: dict[str, Any]) -> None:
    earlier, later = row(0, input_offset=900), row(1, later_s=1, **elsewhere)
    assert newest_per_key([earlier, later]) == newest_per_key([later, earlier]) == [later]


def test_of_an_input_that_was_scored_twice_the_later_one_counts() -> None:
    once, again = row(0, input_offset=5), row(1, input_offset=5)
    assert newest_per_key([again, once]) == newest_per_key([once, again]) == [again]


def test_nothing_is_newer_than_itself() -> None:
    assert not newer(row(0), row(0))


def test_each_key_and_model_has_its_own_and_none_has_none_in_a_fixed_order() -> None:
    rows = [row(0, key=b"b"), row(1, key=b"a"), row(2, key=None), row(3, key=b"b"), row(4, key=b"a", model="other")]
    found = [(r.model, r.record_key, r.topic_offset) for r in newest_per_key(rows)]
    assert found == [("other", "a", 4), ("small", "a", 1), ("small", "b", 3)]
