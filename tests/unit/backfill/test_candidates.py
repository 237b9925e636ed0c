"""Rows of a source come out as they would have, had each been a message."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.backfill.candidates import as_records
from scoring.backfill.reading import in_order
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.contract.message import encode_message
from scoring.contract.records import ORDINARY, RecordRules
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from tests.support.bundles import MOMENT, make_bundle, small_schema

KINDS = {"id": FieldType.STRING, "at": FieldType.TIME, "x": FieldType.NUMBER, "color": FieldType.STRING}
STRICT = msgspec.structs.replace(ORDINARY, maximum_value_bytes=120, maximum_text_characters=20)
TEXTS = st.one_of(
    st.none(), st.sampled_from(["blue", "red", "a\0b", "x" * 21, 'quote " and \\', "ü" * 10]), st.text(max_size=25)
)
ROWS = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "at": st.one_of(st.none(), st.integers(-(10**9), 4 * 10**9).map(lambda second: second + 0.25), st.just(1e12)),
        "x": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 3.0])),
        "color": TEXTS,
    }
)


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> list[Scorer]:
    folder = tmp_path_factory.mktemp("bundles")
    found = []
    for number, rules in enumerate((RecordRules(), ORDINARY, STRICT), start=1):
        schema = msgspec.structs.replace(small_schema(), records=rules)
        digest = make_bundle(folder / str(number), number, schema=schema)
        found.append(Scorer(open_bundle(folder / str(number), digest)))
    return found


def columns_of(rows: list[dict[str, Any]]) -> dict[str, Column]:
    return {
        name: [row[name] for row in rows]
        if kind is FieldType.STRING
        else np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        for name, kind in KINDS.items()
    }


@pytest.mark.parametrize("place", range(3))
@given(rows=st.lists(ROWS, min_size=1, max_size=12))
def test_a_row_is_scored_or_refused_as_its_message_is(
    scorers: list[Scorer], place: int, rows: list[dict[str, Any]]
) -> None:
    scorer, columns = scorers[place], columns_of(rows)
    found = as_records(scorer, columns)
    writable = [number for number, row in enumerate(rows) if _writable(row)]
    messages = [encode_message(scorer.schema.fields, {name: columns[name][n] for name in KINDS}) for n in writable]
    decoded = scorer.decode(messages)
    assert found.rows == [writable[row] for row in decoded.rows]
    failures = {each.index: (each.reason, each.detail) for each in found.failures}
    expected = {writable[each.index]: (each.reason, each.detail) for each in decoded.failures}
    assert {index: failures[index] for index in writable if index in failures} == expected
    assert failures.keys() - expected.keys() == set(range(len(rows))) - set(writable)
    ours, theirs = (scorer.score(each.columns, len(each.rows)) for each in (found, decoded))
    assert ours.view(np.int64).tolist() == theirs.view(np.int64).tolist()


def _writable(row: dict[str, Any]) -> bool:
    texts = [row[name] or "" for name in ("id", "color")]
    return row["at"] != 1e12 and not any("\ud800" <= character <= "\udfff" for text in texts for character in text)


def test_ordinary_rows_never_become_messages(scorers: list[Scorer], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(values: list[bytes]) -> Any:
        assert not values
        return type("Nothing", (), {"failures": []})

    with monkeypatch.context() as watched:
        watched.setattr(scorers[1], "decode", refuse)
        rows = [{"id": "a", "at": MOMENT.timestamp(), "x": 0.5, "color": None}] * 3
        assert as_records(scorers[1], columns_of(rows)).rows == [0, 1, 2]


@given(rows=st.lists(ROWS, max_size=12), random=st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_depend_on_that_of_the_source(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    first, second = (in_order(columns_of(each), KINDS, ("at", "id")) for each in (rows, shuffled))
    assert repr(first) == repr(second)
