"""Tables that are frozen into a bundle: the same bytes for the same rows, and nothing else is taken for one."""

from typing import Any

import msgspec
import numpy as np
import pytest

from scoring.contract.asof import FOREVER_S, Index, Rows, answer, ask, found_column
from scoring.contract.encoder import Column
from scoring.contract.errors import BundleRejected
from scoring.contract.features import FieldType, FrozenLookup, LookupField
from scoring.contract.frozen import FrozenTable, decode_table, encode_table, file_of
from scoring.contract.lookup import OnMiss

KINDS = (FieldType.STRING, FieldType.NUMBER)


def lookup(**changes: Any) -> FrozenLookup:
    values: dict[str, Any] = {
        "name": "airport",
        "connection": "warehouse",
        "table": "airports",
        "match": (("code", "origin"), ("terminal", "terminal")),
        "fields": (LookupField(name="altitude"), LookupField(name="town", type=FieldType.STRING)),
    }
    return FrozenLookup(**{**values, **changes})


def rows(*places: int, valid_at: list[float] | None = None) -> Rows:
    all_ = [("EWR", 1.0, 18.0, "Newark"), ("JFK", 4.0, 13.0, None), ("JFK", 5.0, float("nan"), "New York")]
    kept = [all_[place] for place in places]
    return Rows(
        keys=[row[:2] for row in kept],
        valid_at=np.full(len(kept), FOREVER_S) if valid_at is None else np.array(valid_at),
        known_at=None,
        values={"altitude": np.array([row[2] for row in kept], dtype=float), "town": [row[3] for row in kept]},
    )


def found(used: FrozenLookup, table: Rows, *asked: tuple[str | None, float]) -> list[tuple[float, str | None]]:
    columns: dict[str, Column] = {
        "origin": [origin for origin, _ in asked],
        "terminal": np.array([terminal for _, terminal in asked]),
        "at": np.full(len(asked), -1e9),
    }
    got = answer(used, ask(used, columns, len(asked), "at"), Index(table))
    return list(zip(np.asarray(got["airport.altitude"], float).tolist(), got["airport.town"], strict=True))


def test_rows_in_any_order_make_the_same_bytes() -> None:
    content = encode_table(lookup(), rows(0, 1, 2))
    assert content == encode_table(lookup(), rows(2, 0, 1))
    assert b"NaN" not in content


def test_a_table_that_was_frozen_answers_as_before() -> None:
    again = decode_table(lookup(), KINDS, encode_table(lookup(), rows(2, 1, 0)))
    asked = (("EWR", 1.0), ("JFK", 4.0), ("XXX", 1.0), (None, 1.0), ("EWR", 2.0), ("JFK", 5.0))
    expected = [(18.0, "Newark"), (13.0, None), *[(float("nan"), None)] * 3, (float("nan"), "New York")]
    np.testing.assert_equal(found(lookup(), again, *asked), expected)
    np.testing.assert_equal(found(lookup(), rows(0, 1, 2), *asked), expected)


def test_rows_without_a_time_hold_for_ever() -> None:
    columns: dict[str, Column] = {"origin": ["EWR"] * 2, "terminal": np.ones(2), "at": np.array([-6e10, 2.5e11])}
    got = answer(lookup(), ask(lookup(), columns, 2, "at"), rows(0))
    assert np.asarray(got["airport.altitude"]).tolist() == [18.0, 18.0]


def test_a_row_with_a_time_holds_from_then_on() -> None:
    used = lookup(valid_at="since", max_age_s=1e12)
    table = decode_table(used, KINDS, encode_table(used, rows(0, 1, valid_at=[-2e9, 0.0])))
    assert [town for _, town in found(used, table, ("EWR", 1.0), ("JFK", 4.0))] == ["Newark", None]


def test_a_miss_is_told_apart_from_a_missing_value_where_it_counts() -> None:
    used = lookup(on_miss=OnMiss.DEAD_LETTER)
    columns: dict[str, Column] = {"origin": ["JFK", "XXX"], "terminal": np.array([5.0, 5.0]), "at": np.zeros(2)}
    got = answer(used, ask(used, columns, 2, "at"), rows(0, 1, 2))
    assert np.isnan(np.asarray(got["airport.altitude"], float)).all()
    assert np.asarray(got[found_column("airport")]).tolist() == [1.0, 0.0]


GOOD: dict[str, Any] = {"match": (("EWR",), (1.0,)), "fields": ((18.0,), ("Newark",))}


@pytest.mark.parametrize(
    "changes",
    [
        {"match": (("EWR",),)},
        {"fields": ((18.0,),)},
        {"match": (("EWR", "JFK"), (1.0,))},
        {"fields": ((18.0, 19.0), ("Newark",))},
        {"match": ((1.0,), (1.0,))},
        {"match": (("EWR",), ("1",))},
        {"fields": (("18",), ("Newark",))},
        {"valid_at": (0.0,)},
        {"known_at": (0.0,)},
        {"fields": (((1.0,),), ("Newark",))},
    ],
)
def test_what_is_not_the_table_of_the_lookup_is_refused(changes: dict[str, Any]) -> None:
    assert len(decode_table(lookup(), KINDS, msgspec.json.encode(FrozenTable(**GOOD))).keys) == 1
    with pytest.raises(BundleRejected, match=file_of("airport")):
        decode_table(lookup(), KINDS, msgspec.json.encode({**GOOD, **changes}))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000])
def test_what_is_no_table_is_refused(content: bytes) -> None:
    with pytest.raises(BundleRejected, match=file_of("airport")):
        decode_table(lookup(), KINDS, content)
