from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from tests.support.training import classification, definition
from training import field
from training.definition import Gates, Label
from training.rows import split, targets, where

HOLDOUT = datetime(2024, 3, 1, tzinfo=UTC)


def columns(*rows: tuple[timedelta, float | None, str | None]) -> dict[str, Column]:
    return {
        "trip_id": [word for _, _, word in rows],
        "pickup": np.array([epoch_s(HOLDOUT + since) for since, _, _ in rows]),
        "miles": np.ones(len(rows)),
        "fare": np.array([np.nan if fare is None else fare for _, fare, _ in rows]),
    }


def parts(*rows: tuple[timedelta, float | None, str | None], **changes: Any) -> list[str]:
    found = split(definition(**changes), columns(*rows), HOLDOUT)
    names = ("training", "holdout", "without_label", "unscorable", "in_gap")
    return ["+".join(name for name in names if getattr(found, name)[place]) for place in range(len(rows))]


def test_rows_are_split_by_time_with_a_gap_as_long_as_the_delay_of_the_label() -> None:
    delay = timedelta(hours=1)
    rows = [
        (-delay - timedelta(seconds=1), 1.0, "a"),
        (-delay, 1.0, "b"),
        (-timedelta(seconds=1), 1.0, "c"),
        (timedelta(0), 1.0, "d"),
        (timedelta(days=20), 1.0, "e"),
    ]
    assert parts(*rows) == ["training", "in_gap", "in_gap", "holdout", "holdout"]


def test_rows_without_a_label_or_a_required_field_are_left_out_and_counted_once() -> None:
    rows = [(-timedelta(days=1), None, "a"), (-timedelta(days=1), 1.0, None), (timedelta(0), None, None)]
    assert parts(*rows) == ["without_label", "unscorable", "unscorable"]


def test_a_field_that_is_known_late_may_be_missing_even_if_required() -> None:
    late = field.number("tip", required=True, known_after=timedelta(hours=1))
    assert parts((timedelta(0), 1.0, "a"), fields=[*definition().fields, late]) == ["holdout"]


def test_targets_are_the_numbers_or_whether_they_reach_the_limit() -> None:
    rows = columns((timedelta(0), 19.9, "a"), (timedelta(0), 20.0, "b"), (timedelta(0), None, "c"))
    binary = definition(label=Label("fare", at_least=20.0, known_after=timedelta(0)), gates=Gates(minimum={"auc": 0.5}))
    np.testing.assert_array_equal(targets(definition(), rows), [19.9, 20.0, np.nan])
    np.testing.assert_array_equal(targets(binary, rows), [0.0, 1.0, np.nan])


def test_rows_are_taken_from_columns_of_words_and_of_numbers() -> None:
    taken = where(columns((timedelta(0), 1.0, "a"), (timedelta(0), 2.0, "b")), np.array([False, True]))
    assert taken["trip_id"] == ["b"]
    np.testing.assert_array_equal(taken["fare"], [2.0])


def paid(*words: str | None) -> dict[str, Column]:
    found = columns(*((timedelta(days=-1 if word else 1), None, "a") for word in words))
    return {**found, "payment": list(words)}


def test_classes_are_numbered_in_the_order_of_the_definition() -> None:
    found = targets(classification(), paid("voucher", "cash", None, "card", "cash"))
    np.testing.assert_array_equal(found, [2.0, 0.0, np.nan, 1.0, 0.0])
    parts = split(classification(), paid("voucher", None, "card"), HOLDOUT)
    assert parts.without_label.tolist() == [False, True, False]
    assert parts.training.tolist() == [True, False, True]


def test_a_label_that_is_no_class_is_an_error_that_names_what_was_found() -> None:
    words = ["cash", "Card", "Card", "barter", *(f"x{number}" for number in range(9))]
    with pytest.raises(ConfigurationError) as caught:
        targets(classification(), paid(*words))
    told = str(caught.value)
    assert "label 'payment': the data have 'Card' (2 rows), 'barter' (1 rows), 'x0' (1 rows)" in told
    assert "and 6 more, which is none of the classes ['cash', 'card', 'voucher']; add it" in told
