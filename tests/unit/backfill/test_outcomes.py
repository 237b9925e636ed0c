"""As many rows come out as records went in, whatever becomes of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from scoring.backfill.candidates import as_records
from scoring.backfill.lookahead import Span
from scoring.backfill.outcomes import Outcomes, RowsLost, known_of, outcomes
from scoring.backfill.plan import Chunk
from scoring.backfill.scoring import BATCH_RECORDS, scored
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, FieldType
from scoring.contract.lookup import OnMiss
from scoring.predictions.keys import key_text
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from scoring.worker.scoring_step import Scored
from tests.support.bundles import make_bundle, score_of, small_record, small_schema
from tests.support.classes import CLASSES, bundle_of_classes, probabilities
from tests.support.past import HEAT, day

SPAN = Span(start=day(0), end=day(1), version="1", sequence=1, manifest_digest="0" * 64, lookahead=False)
CHUNK = Chunk(number=0, start=day(0), end=day(1), span=SPAN)


class Nothing:
    """Lookups that find nothing."""

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:  # noqa: ARG002  the protocol
        found: dict[str, Column] = {}
        for lookup in schema.lookups:
            found.update({f"{lookup.name}.{field.name}": np.full(rows, np.nan) for field in lookup.fields})
            found[f"{lookup.name}."] = np.zeros(rows)
        return found


def scorer_of(folder: Path, **changes: Any) -> Scorer:
    lookups = tuple(msgspec.structs.replace(each, **changes) for each in HEAT)
    digest = make_bundle(folder / "bundle", 1, schema=small_schema(lookups))
    return Scorer(open_bundle(folder / "bundle", digest))


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return scorer_of(tmp_path)


def columns_of(numbers: list[int], lacking: frozenset[int] = frozenset()) -> dict[str, Column]:
    rows = [small_record(number) for number in numbers]
    return {
        "id": [str(row["id"]) for row in rows],
        "at": np.array([row["at"].timestamp() for row in rows], dtype=np.float64),  # type: ignore[attr-defined]
        "x": np.array([np.nan if n in lacking else row["x"] for n, row in zip(numbers, rows, strict=True)]),
        "color": [str(row["color"]) for row in rows],
    }


def put_together(scorer: Scorer, columns: dict[str, Column], lookups: Any = None) -> Outcomes:
    parts = scored(scorer, lookups or Nothing(), as_records(scorer, columns))
    return outcomes(CHUNK, scorer, parts, known_of(scorer.schema, columns), len(columns["id"]))


def test_scores_and_failures_stand_where_their_records_stood(scorer: Scorer) -> None:
    found = put_together(scorer, columns_of([*range(10)], frozenset({0, 4, 9})))
    assert [place for place, reason in enumerate(found.columns["reason"]) if reason] == [0, 4, 9]
    expected = [None if number in {0, 4, 9} else score_of(1, number) for number in range(10)]
    assert found.columns["score"] == expected
    assert (found.rows, found.failures) == (10, 3)


@pytest.mark.parametrize("numbers", [[], [3], [3, 4]])
def test_a_chunk_of_nothing_or_of_failures_alone_is_one_too(scorer: Scorer, numbers: list[int]) -> None:
    found = put_together(scorer, columns_of(numbers, frozenset(numbers)))
    assert found.columns["reason"] == ["wrong-type"] * len(numbers)
    assert (found.rows, found.failures) == (len(numbers), len(numbers))


def test_more_than_a_micro_batch_comes_out_as_a_whole(scorer: Scorer) -> None:
    numbers = [*range(2 * BATCH_RECORDS + 17)]
    found = put_together(scorer, columns_of(numbers))
    assert found.columns["score"] == [score_of(1, number) for number in numbers]


def test_a_miss_that_makes_dead_letters_makes_failures(tmp_path: Path) -> None:
    found = put_together(scorer_of(tmp_path, on_miss=OnMiss.DEAD_LETTER), columns_of([1, 2]))
    assert found.columns["reason"] == ["lookup-miss"] * 2
    assert found.columns["score"] == [None, None]


class Spoilt(Nothing):
    """Lookups that fail on one colour."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        if "red" in [*columns["color"]]:
            raise self._error
        return super().resolve(schema, columns, rows)


def test_what_fails_on_a_record_condemns_that_record_alone(scorer: Scorer) -> None:
    found = put_together(scorer, columns_of([*range(9)]), Spoilt(ZeroDivisionError()))
    details = found.columns["detail"]
    assert [detail for detail in details if detail] == ["the model failed on it: ZeroDivisionError"] * 3
    assert [number for number in range(9) if details[number]] == [2, 5, 8]
    assert sum(score is not None for score in found.columns["score"]) == 6


@pytest.mark.parametrize("error", [Unavailable("the database is away"), MemoryError(), OSError("disk")])
def test_what_is_no_fault_of_a_record_condemns_none(scorer: Scorer, error: Exception) -> None:
    with pytest.raises(Unavailable):
        put_together(scorer, columns_of([*range(9)]), Spoilt(error))


def test_several_classes_have_label_and_probabilities(tmp_path: Path) -> None:
    found = put_together(Scorer(bundle_of_classes(tmp_path / "classes")), columns_of([1, 9]))
    for place, number in enumerate((1, 9)):
        chances = probabilities(number)
        assert found.columns["score"][place] == max(chances)
        assert found.columns["label"][place] == CLASSES[chances.index(max(chances))]
        told = msgspec.json.decode(found.columns["probabilities"][place])
        assert told == dict(zip(CLASSES, chances, strict=True))
    assert found.columns["decision"] == [None, None]


Spoil = Callable[[list[Scored]], list[Scored]]


@pytest.mark.parametrize("spoil", [lambda parts: parts[1:], lambda parts: [*parts, parts[0]]], ids=["lost", "doubled"])
def test_a_record_that_is_lost_or_doubled_is_never_written(scorer: Scorer, spoil: Spoil) -> None:
    columns = columns_of([*range(10)])
    parts = spoil([*scored(scorer, Nothing(), as_records(scorer, columns))])
    with pytest.raises(RowsLost, match="10 have no outcome, or two"):
        outcomes(CHUNK, scorer, iter(parts), known_of(scorer.schema, columns), 10)


def test_the_digest_tells_every_difference(scorer: Scorer) -> None:
    def changes() -> Iterator[Outcomes]:
        yield put_together(scorer, columns_of([1, 2]))
        yield put_together(scorer, columns_of([2, 1]))
        yield put_together(scorer, columns_of([1, 2], frozenset({2})))
        columns = columns_of([1, 2])
        later = msgspec.structs.replace(CHUNK, number=1)
        parts = scored(scorer, Nothing(), as_records(scorer, columns))
        yield outcomes(later, scorer, parts, known_of(scorer.schema, columns), 2)

    digests = [each.digest for each in changes()]
    assert len(set(digests)) == len(digests)
    assert put_together(scorer, columns_of([1, 2])).digest == digests[0]


def kept(key: str | None) -> object:
    columns: Any = {"id": ["order 1", key], "at": np.zeros(2)}
    return known_of(small_schema(), columns)["record_key"][1]


def test_keys_that_no_database_holds_are_written_otherwise() -> None:
    assert kept("order 7") == "order 7"
    assert kept(None) is None
    assert kept("Zoë") == "Zoë"
    assert kept("a\0b") == "base64:YQBi"
    assert kept("\ud800") == "base64:7aCA"
    assert kept("base64:YQ==") == "base64:YmFzZTY0OllRPT0="


LONG = ["x" * 1_000, "x" * 1_001, "ë" * 500, "ë" * 501]


@pytest.mark.parametrize("key", ["", "order 7", "sha256:abc", "base64:", "a\0b", *LONG])
def test_keys_are_those_of_the_tables_of_predictions_so_that_both_can_be_joined(key: str) -> None:
    assert kept(key) == key_text(key.encode())


def test_keys_that_are_no_text_are_written_as_json_has_them(scorer: Scorer) -> None:
    fields = tuple(
        msgspec.structs.replace(field, type=FieldType.NUMBER) if field.name == "id" else field
        for field in scorer.schema.fields
    )
    schema = msgspec.structs.replace(scorer.schema, fields=fields)
    columns = {**columns_of([1, 2, 3]), "id": np.array([100_001.0, 0.5, np.nan])}
    assert known_of(schema, columns)["record_key"] == ["100001", "0.5", None]


def test_a_score_that_is_no_number_is_a_failure(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(_columns: Columns, rows: int) -> Any:
        return np.where(np.arange(rows) == 1, np.nan, 0.75)

    monkeypatch.setattr(scorer, "score", score)
    found = put_together(scorer, columns_of([0, 1, 2]))
    assert found.columns["score"] == [0.75, None, 0.75]
    assert found.columns["detail"] == [None, "its score is not a finite number", None]
    assert json_ids(found) == ["r-00000000", None, "r-00000002"]


def json_ids(found: Outcomes) -> list[str | None]:
    return [None if each is None else msgspec.json.decode(each)["id"] for each in found.columns["pass_through"]]
