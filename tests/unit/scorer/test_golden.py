"""Golden rows: a bundle that does not reproduce its own scores never goes live."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scoring.contract.errors import BundleRejected
from scoring.contract.features import LookupField, TableLookup
from scoring.contract.golden import GoldenRow, Score, Value
from scoring.contract.manifest import Output, Task
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer, lookup_columns
from tests.support.bundles import make_bundle, small_bundle, small_schema

WEATHER = TableLookup(
    name="weather",
    connection="warehouse",
    table="weather",
    match=(("station", "id"),),
    valid_at="at",
    fields=(LookupField(name="wind"),),
)


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return Scorer(small_bundle(tmp_path / "bundle"))


def rows_of(scorer: Scorer, **changes: object) -> tuple[GoldenRow, ...]:
    """The golden rows with the last of them changed."""
    *others, last = scorer.bundle.golden
    return (*others, msgspec.structs.replace(last, **changes))


def with_output(scorer: Scorer, **changes: object) -> Scorer:
    output: Output = msgspec.structs.replace(scorer.manifest.output, **changes)
    manifest = msgspec.structs.replace(scorer.manifest, output=output)
    return Scorer(msgspec.structs.replace(scorer.bundle, manifest=manifest))


def number(score: Score) -> float:
    assert isinstance(score, float)
    return score


def test_a_good_bundle_passes(scorer: Scorer) -> None:
    check_golden(scorer)


def test_a_bundle_without_golden_rows_is_refused(scorer: Scorer) -> None:
    with pytest.raises(BundleRejected, match="there is no golden row"):
        check_golden(scorer, ())


@pytest.mark.parametrize("message", [b"", b"{}", b'{"id":1}', b"\xff"])
def test_a_row_that_does_not_decode_is_named(scorer: Scorer, message: bytes) -> None:
    with pytest.raises(BundleRejected, match="golden row 19 does not decode"):
        check_golden(scorer, rows_of(scorer, message=message))


@pytest.mark.parametrize(("field", "whose"), [("compiled", "compiled model's"), ("estimator", "estimator's")])
@pytest.mark.parametrize("direction", [-math.inf, math.inf])
def test_one_unit_in_the_last_place_is_too_much_for_an_exact_model(
    scorer: Scorer, field: str, whose: str, direction: float
) -> None:
    off = math.nextafter(number(scorer.bundle.golden[-1].compiled), direction)
    with pytest.raises(BundleRejected, match=f"from the {whose} output, 0 is allowed"):
        check_golden(scorer, rows_of(scorer, **{field: off}))


def test_a_model_that_is_not_exact_may_differ_by_its_tolerance(scorer: Scorer) -> None:
    tolerant = with_output(scorer, exact=False, tolerance=1e-6)
    expected = number(scorer.bundle.golden[-1].estimator)
    check_golden(tolerant, rows_of(tolerant, estimator=expected + 0.9e-6))
    with pytest.raises(BundleRejected, match="1e-06 is allowed"):
        check_golden(tolerant, rows_of(tolerant, estimator=expected + 1.1e-6))


def test_the_tolerance_of_an_exact_model_counts_for_nothing(scorer: Scorer) -> None:
    exact = with_output(scorer, exact=True, tolerance=1.0)
    with pytest.raises(BundleRejected, match="0 is allowed"):
        check_golden(exact, rows_of(exact, estimator=number(exact.bundle.golden[-1].estimator) + 1e-9))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_passes(scorer: Scorer, wrong: float) -> None:
    tolerant = with_output(scorer, exact=False, tolerance=1.0)
    with pytest.raises(BundleRejected, match="golden rows differ"):
        check_golden(tolerant, rows_of(tolerant, compiled=wrong))


@pytest.mark.parametrize("tolerance", [1.0, 1e308])
def test_a_tolerance_as_large_as_the_scores_shows_nothing_and_is_refused(scorer: Scorer, tolerance: float) -> None:
    with pytest.raises(BundleRejected, match="lets anything pass"):
        check_golden(with_output(scorer, exact=False, tolerance=tolerance))


def test_the_rows_bring_what_was_looked_up_for_them(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1, schema=small_schema((WEATHER,)))
    scorer = Scorer(open_bundle(tmp_path / "bundle"))
    check_golden(scorer)
    check_golden(
        scorer, tuple(msgspec.structs.replace(r, lookups={"weather": {"wind": 3.5}}) for r in scorer.bundle.golden)
    )


@pytest.mark.parametrize("value", ["strong", "", "1.5.2"])
def test_a_looked_up_value_of_another_type_is_refused(tmp_path: Path, value: Value) -> None:
    make_bundle(tmp_path / "bundle", 1, schema=small_schema((WEATHER,)))
    scorer = Scorer(open_bundle(tmp_path / "bundle"))
    with pytest.raises(BundleRejected, match="looked-up values"):
        lookup_columns(scorer, [{"weather": {"wind": value}}])


def test_what_was_not_looked_up_is_missing(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1, schema=small_schema((WEATHER,)))
    scorer = Scorer(open_bundle(tmp_path / "bundle"))
    (column,) = lookup_columns(
        scorer, [{}, {"weather": {}}, {"weather": {"wind": None}}, {"other": {"wind": 1.0}}]
    ).values()
    assert np.isnan(np.asarray(column, dtype=np.float64)).all()


def test_the_decision_is_at_the_threshold_or_above(scorer: Scorer) -> None:
    decided = scorer.decide(np.array([1.25, 1.5, 1.75, math.nan]))
    assert decided is not None
    assert decided.tolist() == [False, True, True, False]
    undecided = with_output(scorer, threshold=None, task=Task.REGRESSION)
    assert undecided.decide(np.array([1.0])) is None
