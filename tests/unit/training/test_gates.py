from typing import Any

import msgspec
import pytest

from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings
from tests.support.training import definition, request
from training import gates
from training.definition import Gates
from training.gates.evidence import Evidence
from training.results import (
    Baseline,
    BaselineKind,
    Evaluated,
    Gated,
    Parity,
    Validated,
    from_json,
    to_json,
)

PASSED = Validated(verdict=Verdict(gate="data", judgement=Judgement.PASS, sentence="fine"), expectations=3)
REFUSED = Validated(
    verdict=Verdict(gate="data", judgement=Judgement.FAIL, sentence="miles are kilometres"), expectations=3
)
TRIVIAL = Baseline(kind=BaselineKind.TRIVIAL, metrics={"rmse": 9.0})
CHAMPION = Baseline(kind=BaselineKind.CHAMPION, metrics={"rmse": 4.0}, version="3", sequence=7)
EQUAL = Parity(exact=False, tolerance=1e-5, rows=100, different_rows=4, largest_difference=1e-6, changed_decisions=0)
EXACT = Parity(exact=True, tolerance=0.0, rows=100, different_rows=0, largest_difference=0.0, changed_decisions=0)


def evaluated(
    rmse: float | None = 4.2, *, baseline: Baseline = CHAMPION, parity: Parity = EQUAL, rows: int = 100
) -> Evaluated:
    return Evaluated(metrics={} if rmse is None else {"rmse": rmse}, baseline=baseline, parity=parity, rows=rows)


def judged(found: Evaluated | None, *, validated: Validated = PASSED, limits: Gates | None = None) -> Gated:
    made = definition(gates=limits or Gates(maximum={"rmse": 5.0}, not_worse={"rmse": 0.5}))
    return gates.judge(made, request(), Settings(), validated, found)


def judgements(gated: Gated) -> dict[str, str]:
    return {verdict.gate: verdict.judgement.value for verdict in gated.verdicts}


def test_a_candidate_that_passes_every_gate_is_accepted_on_top_of_the_champion_it_was_held_against() -> None:
    gated = judged(evaluated())
    assert judgements(gated) == {"data": "pass", "parity": "pass", "minimum-quality": "pass", "not-worse": "pass"}
    assert (gated.accepted, gated.red, gated.parent) == (True, False, 7)
    assert "rmse is 4.2, champion 3's is 4 on the same rows; at most 0.5 worse is allowed" in gated.sentence


def test_without_any_verdict_nothing_is_accepted() -> None:
    assert not Gated(verdicts=(), sentence="", red=False, parent=0).accepted


def test_a_model_that_is_merely_not_good_enough_is_refused_without_alarm() -> None:
    gated = judged(evaluated(5.5))
    assert judgements(gated) == {"data": "pass", "parity": "pass", "minimum-quality": "fail", "not-worse": "fail"}
    assert (gated.accepted, gated.red) == (False, False)
    assert "refused by minimum-quality: rmse is 5.5, at most 5 is required" in gated.sentence


def test_refused_data_train_nothing_and_raise_the_alarm_yet_every_gate_has_its_verdict() -> None:
    gated = judged(None, validated=REFUSED)
    assert judgements(gated) == {"data": "fail", "parity": "error", "minimum-quality": "error", "not-worse": "error"}
    assert (gated.accepted, gated.red, gated.parent) == (False, True, None)
    assert gated.sentence == "the candidate of fare is refused by data: miles are kilometres"


def test_a_first_version_must_beat_the_trivial_baseline_by_any_amount() -> None:
    loose = Gates(maximum={"rmse": 99.0}, not_worse={"rmse": 5.0})
    assert judgements(judged(evaluated(8.9, baseline=TRIVIAL), limits=loose))["not-worse"] == "pass"
    assert judgements(judged(evaluated(9.0, baseline=TRIVIAL), limits=loose))["not-worse"] == "fail"
    assert judged(evaluated(8.9, baseline=TRIVIAL), limits=loose).parent == 0


@pytest.mark.parametrize(("rmse", "judgement"), [(4.5, "pass"), (4.500001, "fail"), (None, "fail")])
def test_the_margin_is_part_of_what_is_allowed(rmse: float | None, judgement: str) -> None:
    assert judgements(judged(evaluated(rmse)))["not-worse"] == judgement


def test_without_a_stated_margin_the_champion_may_not_be_better_at_all() -> None:
    limits = Gates(maximum={"rmse": 5.0})
    assert judgements(judged(evaluated(4.0), limits=limits))["not-worse"] == "pass"
    assert judgements(judged(evaluated(4.0001), limits=limits))["not-worse"] == "fail"


def test_more_is_better_where_more_is_better() -> None:
    limits = Gates(minimum={"r2": 0.5}, not_worse={"r2": 0.1})
    baseline = msgspec.structs.replace(CHAMPION, metrics={"r2": 0.7})
    found = Evaluated(metrics={"r2": 0.61}, baseline=baseline, parity=EQUAL, rows=9)
    assert judged(found, limits=limits).accepted
    worse = msgspec.structs.replace(found, metrics={"r2": 0.59})
    assert judgements(judged(worse, limits=limits)) == {
        "data": "pass",
        "parity": "pass",
        "minimum-quality": "pass",
        "not-worse": "fail",
    }


def test_a_champion_that_cannot_be_a_baseline_is_an_error_and_raises_the_alarm() -> None:
    broken = Baseline(kind=BaselineKind.CHAMPION, version="3", sequence=7, error="champion 3: it saw the holdout")
    gated = judged(evaluated(baseline=broken))
    assert judgements(gated)["not-worse"] == "error"
    assert (gated.accepted, gated.red) == (False, True)
    assert "champion 3: it saw the holdout" in gated.sentence


def test_a_champion_whose_metric_is_missing_is_not_beaten() -> None:
    gated = judged(evaluated(baseline=msgspec.structs.replace(CHAMPION, metrics={})))
    assert judgements(gated)["not-worse"] == "fail"


def test_a_holdout_without_rows_proves_nothing() -> None:
    gated = judged(evaluated(rows=0))
    assert judgements(gated) == {"data": "pass", "parity": "error", "minimum-quality": "error", "not-worse": "error"}


@pytest.mark.parametrize(
    ("parity", "told"),
    [
        (msgspec.structs.replace(EXACT, different_rows=1, largest_difference=1e-17), "1 of 100 scores are not those"),
        (msgspec.structs.replace(EXACT, largest_difference=None), "scores that are not numbers"),
        (msgspec.structs.replace(EQUAL, largest_difference=2e-5), "by up to 2e-05, 1e-05 is allowed"),
        (msgspec.structs.replace(EQUAL, changed_decisions=3), "decides 3 of 100 rows otherwise"),
    ],
)
def test_a_conversion_that_scores_otherwise_is_refused_with_alarm(parity: Parity, told: str) -> None:
    gated = judged(evaluated(parity=parity))
    assert judgements(gated)["parity"] == "fail"
    assert gated.red
    assert told in gated.sentence


def test_an_exception_inside_a_gate_is_a_verdict_and_the_other_gates_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(evidence: Evidence) -> Verdict:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(gates, "GATES", {"broken": broken, **gates.GATES})
    gated = judged(evaluated())
    assert judgements(gated)["broken"] == "error"
    assert judgements(gated)["not-worse"] == "pass"
    assert (gated.accepted, gated.red) == (False, True)
    assert "oops" in gated.sentence


@pytest.mark.parametrize("found", [evaluated(), evaluated(None), None], ids=["passes", "no metric", "not trained"])
def test_every_result_of_the_gates_survives_json(found: Any) -> None:
    gated = judged(found)
    assert from_json(Gated, msgspec.json.decode(msgspec.json.encode(to_json(gated)))) == gated
