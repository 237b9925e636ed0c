from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import numpy as np
import pytest

from scoring.contract.encoder import Column, Floats
from scoring.contract.golden import GoldenRow
from scoring.contract.message import encode_message
from scoring.scorer.decode import Decoder
from tests.support.training import definition
from training import field
from training.golden import ROWS, ROWS_WITH_GAPS, golden_rows

FIELDS = [
    field.string("id", required=True),
    field.time("at", required=True),
    field.number("miles"),
    field.boolean("shared"),
    field.number("tip", known_after=timedelta(hours=1)),
]
ROW: dict[str, Any] = {"id": "a", "at": 1356998400.25, "miles": 3.0, "shared": 1.0, "tip": 4.0}


def document(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(encode_message(FIELDS, {**ROW, **changes}))
    return found


def test_a_message_holds_what_is_known_at_the_event_and_nothing_later() -> None:
    assert document() == {"id": "a", "at": "2013-01-01T00:00:00.250000Z", "miles": 3, "shared": True}


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan])
def test_what_is_missing_is_null(missing: Any) -> None:
    assert document(miles=missing, shared=missing, at=missing) == {"id": "a", "at": None, "miles": None, "shared": None}


def test_a_time_may_be_a_datetime_of_any_zone() -> None:
    moment = datetime(2013, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert document(at=moment)["at"] == "2013-01-01T00:00:00Z"
    assert document(at=datetime(2013, 1, 1, tzinfo=UTC))["at"] == "2013-01-01T00:00:00Z"


@pytest.mark.parametrize("number", [0.1 + 0.2, 5e-324, -0.0, 1e300, 2.0**53, 123456789.123456789])
def test_a_number_comes_back_bit_for_bit(number: float) -> None:
    decoder = Decoder([each for each in FIELDS if each.known_after_s <= 0])
    miles = np.asarray(decoder.decode([encode_message(FIELDS, {**ROW, "miles": number})]).columns["miles"])
    assert miles[0] == number


def golden(miles: Floats) -> tuple[GoldenRow, ...]:
    """Golden rows whose estimator's output is their place in the holdout."""
    columns: dict[str, Column] = {
        "trip_id": [f"t{number}" for number in range(len(miles))],
        "pickup": np.full(len(miles), 1356998400.0),
        "miles": miles,
    }
    places = np.arange(len(miles), dtype=np.float64)
    return golden_rows(definition().schema, columns, places, places + np.float64(0.25))


def place(row: GoldenRow) -> int:
    assert isinstance(row.estimator, float)
    return int(row.estimator)


def test_golden_rows_of_several_classes_expect_every_probability() -> None:
    columns: dict[str, Column] = {"trip_id": ["a", "b"], "pickup": np.full(2, 1356998400.0), "miles": np.ones(2)}
    estimator, compiled = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]), np.array([[0.25, 0.5, 0.25], [0.0, 1.0, 0.0]])
    rows = golden_rows(definition().schema, columns, estimator, compiled)
    assert [row.estimator for row in rows] == [(0.5, 0.25, 0.25), (0.0, 0.0, 1.0)]
    assert [row.compiled for row in rows] == [(0.25, 0.5, 0.25), (0.0, 1.0, 0.0)]


def test_golden_rows_are_spread_over_the_holdout_and_include_rows_with_gaps() -> None:
    miles = np.ones(1_000)
    miles[[3, 500, 998]] = np.nan
    rows = golden(miles)
    places = [place(row) for row in rows]
    assert len(rows) == ROWS
    assert {3, 500, 998} <= set(places)
    assert (places[0], places[-1]) == (0, 999)
    assert max(np.diff(places)) < 3 * 1_000 / ROWS
    assert all(row.compiled == place(row) + 0.25 for row in rows)
    assert msgspec.json.decode(rows[places.index(3)].message)["miles"] is None


def test_many_rows_with_gaps_do_not_crowd_out_the_others() -> None:
    rows = golden(np.where(np.arange(500) < 400, np.nan, 1.0))
    assert len(rows) == ROWS
    assert sum(place(row) >= 400 for row in rows) >= (ROWS - ROWS_WITH_GAPS) * 0.15


def test_fewer_rows_than_that_are_all_golden() -> None:
    assert len(golden(np.ones(2))) == 2
