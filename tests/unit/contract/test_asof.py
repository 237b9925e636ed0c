"""The join against a plain loop over the rule of ``lookup.AsOf``."""

import math
from typing import Any

import numpy as np
import pytest

from scoring.contract.asof import Rows, join
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType, LookupField, TableLookup

HOUR = 3600.0
Record = dict[str, Any]


def lookup(**changes: Any) -> TableLookup:
    values: dict[str, Any] = {
        "name": "weather",
        "connection": "warehouse",
        "table": "weather",
        "match": (("station", "origin"),),
        "valid_at": "hour",
        "lag_s": HOUR,
        "max_age_s": 6 * HOUR,
        "resolution_s": HOUR,
        "fields": (LookupField(name="temp"), LookupField(name="sky", type=FieldType.STRING)),
    }
    return TableLookup(**{**values, **changes})


def table(rows: list[Record], *, known: bool = False) -> Rows:
    return Rows(
        keys=[(row["station"],) for row in rows],
        valid_at=np.array([row["hour"] for row in rows], dtype=float),
        known_at=np.array([row["known"] for row in rows], dtype=float) if known else None,
        values={
            "temp": np.array([math.nan if row["temp"] is None else row["temp"] for row in rows], dtype=float),
            "sky": [row["sky"] for row in rows],
        },
    )


def joined(at: TableLookup, records: list[Record], rows: Rows) -> list[tuple[float | None, str | None]]:
    columns: dict[str, Column] = {
        "origin": [record["origin"] for record in records],
        "at": np.array([record["at"] for record in records], dtype=float),
    }
    found = join(at, columns, len(records), "at", rows)
    temps = [None if math.isnan(number) else number for number in np.asarray(found["weather.temp"], float).tolist()]
    return list(zip(temps, found["weather.sky"], strict=True))


def by_the_rule(at: TableLookup, record: Record, rows: list[Record]) -> tuple[float | None, str | None]:
    as_of = math.floor(record["at"] / at.resolution_s) * at.resolution_s - at.lag_s
    fitting = [
        row
        for row in rows
        if record["origin"] is not None
        and row["station"] == record["origin"]
        and as_of - at.max_age_s < row["hour"] <= as_of
        and (at.known_at is None or row["known"] <= record["at"])
    ]
    if not fitting:
        return None, None

    def rank(row: Record) -> tuple[Any, ...]:
        known = 0.0 if at.known_at is None else row["known"]
        return row["hour"], known, -math.inf if row["temp"] is None else row["temp"], row["sky"] or ""

    newest = max(fitting, key=rank)
    return newest["temp"], newest["sky"]


def made_up(seed: int) -> tuple[list[Record], list[Record]]:
    """Records and rows that meet often: few stations, hours that repeat, on and next to the bounds."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(150):
        hour = float(random.integers(0, 40)) * HOUR + float(random.choice([0.0, 0.0, 1e-6, -1e-6, 1800.0]))
        rows.append(
            {
                "station": str(random.choice(["EWR", "JFK", "LGA"])),
                "hour": hour,
                "known": hour + float(random.integers(0, 20)) * 900.0,
                "temp": None if random.random() < 0.2 else float(random.integers(0, 5)),
                "sky": [None, "clear", "rain"][int(random.integers(0, 3))],
            }
        )
    records = [
        {
            "origin": [None, "EWR", "JFK", "LGA", "XXX"][int(random.integers(0, 5))],
            "at": float(random.integers(0, 45)) * HOUR + float(random.choice([0.0, 1e-6, -1e-6, 1234.5])),
        }
        for _ in range(400)
    ]
    return records, rows


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("known", [False, True], ids=["valid time only", "with known_at"])
def test_the_join_does_what_the_rule_says(seed: int, known: bool) -> None:
    at = lookup(known_at="known" if known else None)
    records, rows = made_up(seed)
    expected = [by_the_rule(at, record, rows) for record in records]
    assert joined(at, records, table(rows, known=known)) == expected
    assert any(temp is not None for temp, _ in expected)


def test_the_order_of_the_rows_does_not_matter() -> None:
    records, rows = made_up(1)
    at = lookup(known_at="known")
    assert joined(at, records, table(rows, known=True)) == joined(at, records, table(rows[::-1], known=True))


def test_a_row_that_is_exactly_as_old_as_allowed_is_not_used() -> None:
    row = {"station": "EWR", "hour": 0.0, "temp": 1.0, "sky": "rain"}
    records = [{"origin": "EWR", "at": at} for at in (7 * HOUR, 7 * HOUR - 1e-3)]
    assert joined(lookup(), records, table([row])) == [(None, None), (1.0, "rain")]


def test_a_row_of_the_very_moment_is_used() -> None:
    row = {"station": "EWR", "hour": 4 * HOUR, "temp": 1.0, "sky": "rain"}
    records = [{"origin": "EWR", "at": at} for at in (5 * HOUR, 5 * HOUR - 1e-3)]
    assert joined(lookup(), records, table([row])) == [(1.0, "rain"), (None, None)]


def test_a_missing_key_matches_nothing_not_even_a_missing_key() -> None:
    row = {"station": None, "hour": 4 * HOUR, "temp": 1.0, "sky": "rain"}
    assert joined(lookup(), [{"origin": None, "at": 5 * HOUR}], table([row])) == [(None, None)]


def test_an_empty_table_and_no_records_are_no_special_cases() -> None:
    assert joined(lookup(), [{"origin": "EWR", "at": 0.0}], table([])) == [(None, None)]
    assert joined(lookup(), [], table([])) == []
