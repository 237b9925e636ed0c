from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings
from tests.support.evidence import (
    CHAMPION,
    EQUAL,
    EXACT,
    LIMITS,
    PASSED,
    a_slice,
    against_trivial,
    comparison,
    data,
    evaluated,
    evidence,
    leaks,
    load,
    validated,
)
from tests.support.training import END, START, definition, request
from training import gates, limits
from training.definition import Gates, table_lookup
from training.feature import number
from training.gates import baseline, calibration, freshness, leakage, slices, volume
from training.gates.evidence import Evidence
from training.measured import Calibration, LeakFacts, SharedPeriod, Slices
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

REFUSED = validated(verdict=Verdict(gate="data", judgement=Judgement.FAIL, sentence="miles are kilometres"))
UNMEASURED = dict.fromkeys(
    ["volume", "leakage", "parity", "load", "minimum-quality", "not-worse", "slices", "calibration"], "error"
)


def judged(found: Evaluated | None, *, checked: Validated | None = None, **changes: Any) -> Gated:
    made = definition(**{"gates": LIMITS, **changes})
    return gates.judge(made, request(), Settings(), checked or validated(), found)


def judgements(gated: Gated) -> dict[str, str]:
    return {verdict.gate: verdict.judgement.value for verdict in gated.verdicts}


def against(gated: Gated) -> dict[str, str]:
    """The gates that did not pass."""
    return {name: judgement for name, judgement in judgements(gated).items() if judgement != "pass"}


def verdict_of(gated: Gated, gate: str) -> Verdict:
    return next(verdict for verdict in gated.verdicts if verdict.gate == gate)


def test_a_candidate_that_passes_every_gate_is_accepted_on_top_of_the_champion_it_was_held_against() -> None:
    gated = judged(evaluated())
    assert tuple(judgements(gated)) == limits.GATES
    assert against(gated) == {}
    assert (gated.accepted, gated.red, gated.parent) == (True, False, 7)
    assert "rmse is 4.2, champion 3's is 4 on the same rows: 0.2 worse, at 95% confidence at worst" in gated.sentence
    assert "less than 0.5 worse is required" in gated.sentence


def test_without_any_verdict_nothing_is_accepted() -> None:
    assert not Gated(verdicts=(), sentence="", red=False, parent=0).accepted


def test_a_model_that_is_merely_not_good_enough_is_refused_without_alarm() -> None:
    gated = judged(evaluated(5.5))
    assert against(gated) == {"minimum-quality": "fail", "not-worse": "fail"}
    assert (gated.accepted, gated.red) == (False, False)
    assert "refused by minimum-quality: rmse is 5.5 (5.4 to 5.6), at most 5 is required" in gated.sentence


def test_refused_data_train_nothing_and_raise_the_alarm_yet_every_gate_has_its_verdict() -> None:
    gated = judged(None, checked=REFUSED)
    assert against(gated) == {"data": "fail", **UNMEASURED}
    assert (gated.accepted, gated.red, gated.parent) == (False, True, None)
    assert gated.sentence == "the candidate of fare is refused by data: miles are kilometres"


def test_without_any_evidence_no_gate_passes() -> None:
    """Fail closed: an evaluation of an older Baton, which measured less, is no evidence."""
    bare = Evaluated(metrics={}, baseline=CHAMPION, parity=EQUAL, rows=0)
    assert against(judged(bare, checked=Validated(verdict=PASSED, expectations=1))) == {
        "freshness": "error",
        **UNMEASURED,
    }
    some = Evaluated(metrics={"rmse": 1.0}, baseline=CHAMPION, parity=EQUAL, rows=10)
    found = against(judged(some))
    assert {"leakage", "load", "not-worse", "slices", "calibration"} == set(found)
    assert set(found.values()) == {"error"}


class TestNotWorse:
    """The bound of the gain, not the gain, is held against the margin."""

    @pytest.mark.parametrize(
        ("candidate", "error", "judgement"),
        [(4.2, 0.1, "pass"), (4.2, 0.15, "fail"), (4.2, 0.149, "pass"), (3.9, 0.31, "fail"), (3.0, 0.2, "pass")],
    )
    def test_a_candidate_must_be_shown_not_to_be_worse_by_the_margin(
        self, candidate: float, error: float, judgement: str
    ) -> None:
        found = evaluated(candidate, comparisons=(comparison(candidate=candidate, error=error),))
        verdict = verdict_of(judged(found), "not-worse")
        assert verdict.judgement.value == judgement
        assert verdict.limit == -0.5
        assert verdict.value == pytest.approx(4.0 - candidate - 2 * error)

    def test_a_first_version_must_be_shown_to_be_better_than_the_trivial_baseline(self) -> None:
        loose = Gates(maximum={"rmse": 99.0}, not_worse={"rmse": 5.0})
        assert against(judged(against_trivial(8.8), gates=loose)) == {}
        assert against(judged(against_trivial(8.95), gates=loose)) == {"not-worse": "fail"}
        assert judged(against_trivial(8.8), gates=loose).parent == 0
        assert "better is required" in judged(against_trivial(8.8), gates=loose).sentence

    @pytest.mark.parametrize(("candidate", "judgement"), [(4.07, "pass"), (4.09, "fail")])
    def test_a_margin_that_is_not_stated_is_two_hundredths_of_the_champions_error(
        self, candidate: float, judgement: str
    ) -> None:
        found = evaluated(candidate, comparisons=(comparison(candidate=candidate, error=0.0),))
        gated = judged(found, gates=Gates(maximum={"rmse": 5.0}))
        assert verdict_of(gated, "not-worse").judgement.value == judgement

    def test_a_margin_of_nothing_asks_for_a_better_model(self) -> None:
        strict = Gates(maximum={"rmse": 5.0}, not_worse={"rmse": 0.0})
        same = evaluated(4.0, comparisons=(comparison(candidate=4.0, error=0.0),))
        assert against(judged(same, gates=strict)) == {"not-worse": "fail"}
        better = evaluated(3.9, comparisons=(comparison(candidate=3.9, error=0.01),))
        assert against(judged(better, gates=strict)) == {}

    def test_more_is_better_where_more_is_better(self) -> None:
        limit = Gates(minimum={"r2": 0.5}, not_worse={"r2": 0.1})
        for value, refusing in ((0.61, {}), (0.59, {"not-worse": "fail"})):
            compared = (comparison("r2", candidate=value, baseline=0.7, error=0.0),)
            found = evaluated(metrics={"r2": value}, comparisons=compared)
            assert against(judged(found, gates=limit)) == refusing

    def test_a_champion_that_cannot_be_a_baseline_is_an_error_and_raises_the_alarm(self) -> None:
        broken = Baseline(kind=BaselineKind.CHAMPION, version="3", sequence=7, error="champion 3: it saw the holdout")
        gated = judged(evaluated(baseline=broken, comparisons=(), slices=None, resampling=None))
        assert against(gated) == {"not-worse": "error", "slices": "error"}
        assert (gated.accepted, gated.red) == (False, True)
        assert "champion 3: it saw the holdout" in gated.sentence

    def test_a_metric_that_has_no_value_for_both_is_an_error(self) -> None:
        assert against(judged(evaluated(comparisons=()))) == {"not-worse": "error"}

    def test_a_holdout_that_is_too_small_for_any_confidence_is_an_error(self) -> None:
        alone = msgspec.structs.replace(comparison(), low=None, high=None)
        gated = judged(evaluated(comparisons=(alone,)))
        assert against(gated) == {"not-worse": "error"}
        assert "too small to compare rmse" in gated.sentence


class TestFreshness:
    """Events and labels reach up to the end."""

    @pytest.mark.parametrize(
        ("changes", "judgement", "told"),
        [
            ({"newest_event": END - timedelta(days=3)}, "pass", "event is 3.0 days older"),
            ({"newest_event": END - timedelta(days=3, seconds=1)}, "fail", "end of the interval; 3.0 days is allowed"),
            ({"newest_usable_event": END - timedelta(days=5)}, "fail", "the newest row with a label is 5.0 days older"),
            ({"newest_event": None}, "fail", "there is no event at all"),
            ({"newest_usable_event": None}, "fail", "there is no row with a label at all"),
        ],
    )
    def test_old_data_are_refused_with_alarm(self, changes: dict[str, Any], judgement: str, told: str) -> None:
        verdict = freshness.gate(evidence(evaluated(), validated(data=data(**changes))))
        assert verdict.judgement.value == judgement
        assert told in verdict.sentence

    def test_the_limit_is_the_definitions(self) -> None:
        old = validated(data=data(newest_event=END - timedelta(days=6)))
        weekly = Gates(maximum={"rmse": 5.0}, newest_within=timedelta(days=8))
        assert against(judged(evaluated(), checked=old)) == {"freshness": "fail"}
        assert judged(evaluated(), checked=old).red
        assert freshness.gate(evidence(evaluated(), old, gates=weekly)).judgement is Judgement.PASS


class TestVolume:
    """Rows are neither missing nor there several times."""

    @pytest.mark.parametrize(
        ("changes", "judgement", "told"),
        [
            (
                {"usable_rows": 999},
                "fail",
                "999 usable rows (of 6,500; the others lack the label or a required field), at least 1,000",
            ),
            ({"thinnest_week_rows": 249}, "fail", "the median week 500; at least 50% of that"),
            ({"thinnest_week_rows": 250}, "pass", "at least 250 in any seven days of 13 weeks"),
            ({"thinnest_week_rows": 0, "weeks": 2}, "pass", "6,490 usable rows;"),
            ({"thinnest_week_rows": 0, "median_week_rows": 0.0}, "fail", "has 0 usable rows"),
        ],
    )
    def test_too_few_rows_and_a_thin_week_are_refused(self, changes: dict[str, Any], judgement: str, told: str) -> None:
        verdict = volume.gate(evidence(evaluated(), validated(data=data(**changes))))
        assert verdict.judgement.value == judgement
        assert told in verdict.sentence

    @pytest.mark.parametrize(
        ("then", "now", "judgement"),
        [(1_000, 899, "fail"), (1_000, 900, "pass"), (1_000, 1_100, "pass"), (1_000, 1_101, "fail"), (0, 5, "fail")],
    )
    def test_the_time_that_the_champions_snapshot_covers_holds_as_many_rows_as_it_did(
        self, then: int, now: int, judgement: str
    ) -> None:
        shared = SharedPeriod(version="3", start=START, end=END, rows_then=then, rows_now=now)
        verdict = volume.gate(evidence(evaluated(shared_period=shared)))
        assert verdict.judgement.value == judgement
        assert f"{now:,}" in verdict.sentence

    @pytest.mark.parametrize(("share", "judgement"), [(0.1, "pass"), (0.11, "fail")])
    def test_a_past_that_was_rewritten_is_refused(self, share: float, judgement: str) -> None:
        shared = SharedPeriod(
            version="3",
            start=START,
            end=END,
            rows_then=1_000,
            rows_now=1_000,
            common_rows=990,
            changed={"miles": 0.02, "fare": share},
        )
        verdict = volume.gate(evidence(evaluated(shared_period=shared)))
        assert verdict.judgement.value == judgement
        assert ("'fare' has another value now in 11% of the 990 rows" in verdict.sentence) is (judgement == "fail")

    def test_a_champions_snapshot_that_is_gone_is_told_and_does_not_stop_the_model(self) -> None:
        shared = SharedPeriod(version="3", start=START, end=END, rows_then=None, rows_now=5)
        verdict = volume.gate(evidence(evaluated(shared_period=shared)))
        assert verdict.judgement is Judgement.PASS
        assert "the snapshot of champion 3 is not in the store" in verdict.sentence

    def test_missing_rows_are_told_also_where_nothing_could_be_trained(self) -> None:
        gated = judged(None, checked=validated(data=data(usable_rows=3)))
        assert judgements(gated)["volume"] == "fail"
        assert gated.red


class TestLeakage:
    """Nothing gives the answer away."""

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            (leaks(power={"miles": 0.6, "tip": 0.86}), "feature 'tip' alone predicts the holdout with R² 0.860"),
            (leaks(power={"miles": float("nan")}), "implausible"),
            (leaks(shared_keys=2), "2 rows of the holdout have the key of a training row"),
            (leaks(newest_training_event=END), "it was trained on events up to 2024-04-01"),
            (leaks(newest_training_event=leaks().labels_known_before), "were not known when the holdout began"),
        ],
    )
    def test_a_leak_is_refused_with_alarm(self, found: LeakFacts, told: str) -> None:
        gated = judged(evaluated(leaks=found))
        assert against(gated) == {"leakage": "fail"}
        assert gated.red
        assert told in gated.sentence

    def test_a_feature_that_is_known_late_is_refused_even_if_the_definition_got_through(self) -> None:
        made = evidence(evaluated())
        late = [msgspec.structs.replace(each, known_after_s=60.0) for each in made.definition.fields]
        msgspec.structs.force_setattr(made.definition, "fields", late)  # a definition made so would be refused
        verdict = leakage.gate(made)
        assert verdict.judgement is Judgement.FAIL
        assert "'miles' reads 'miles', which is known only after the event" in verdict.sentence

    @pytest.mark.parametrize(("known_at", "warned"), [(None, True), ("known_at", False)])
    def test_a_lookup_that_does_not_say_when_it_was_known_passes_with_a_warning(
        self, known_at: str | None, warned: bool
    ) -> None:
        lookup = table_lookup(
            "traffic",
            connection="warehouse",
            table="traffic",
            match={"trip": "trip_id"},
            valid_at="at",
            known_at=known_at,
            fields=["jam"],
        )
        verdict = leakage.gate(
            evidence(evaluated(), lookups=[lookup], features=[number("miles"), number("traffic.jam")])
        )
        assert verdict.judgement is Judgement.PASS
        assert ("traffic is valid-time only" in verdict.sentence) is warned


class TestSlices:
    """A slice is refused when it is shown to be bad."""

    def judged(self, *found: Any, gates: Gates = LIMITS) -> Verdict:
        return slices.gate(evidence(evaluated(slices=Slices(judged=found, too_small=2)), slices=["miles"], gates=gates))

    def test_slices_that_are_as_good_as_the_champions_pass(self) -> None:
        verdict = self.judged(a_slice(), a_slice("south", gain=0.2))
        assert verdict.judgement is Judgement.PASS
        assert verdict.sentence == "none of 2 slices is shown to be worse (2 too small)"

    def test_a_slice_that_is_shown_to_be_worse_by_more_than_the_margin_is_refused(self) -> None:
        gated = judged(evaluated(slices=Slices(judged=(a_slice(), a_slice("south", gain=-0.7)))), slices=["miles"])
        assert against(gated) == {"slices": "fail"}
        assert not gated.red
        assert "depot 'south' (400 rows): rmse is 4.7, the champion's 4; 0.4 worse is allowed" in gated.sentence

    def test_a_slice_that_may_be_bad_by_chance_is_not_refused(self) -> None:
        assert self.judged(a_slice(gain=-0.7, error=0.25)).judgement is Judgement.PASS
        assert self.judged(a_slice(gain=-0.3, error=0.01)).judgement is Judgement.PASS

    def test_the_more_slices_there_are_the_more_one_of_them_must_show(self) -> None:
        bad = a_slice("south", gain=-0.6, error=0.1)  # two standard errors beyond the margin
        assert self.judged(bad).judgement is Judgement.FAIL
        assert self.judged(bad, *(a_slice(str(each)) for each in range(9))).judgement is Judgement.PASS

    def test_margins_and_limits_of_slices_are_the_definitions(self) -> None:
        strict = Gates(maximum={"rmse": 5.0}, slice_margin={"rmse": 0.0})
        assert self.judged(a_slice(gain=-0.3, error=0.01), gates=strict).judgement is Judgement.FAIL
        limit = Gates(maximum={"rmse": 5.0}, slice_maximum={"rmse": 3.9})
        verdict = self.judged(a_slice(error=0.01), gates=limit)
        assert verdict.judgement is Judgement.FAIL
        assert "rmse is 4, at most 3.9 is required" in verdict.sentence
        assert self.judged(a_slice(error=0.2), gates=limit).judgement is Judgement.PASS

    def test_a_slice_without_any_spread_is_judged_by_its_value(self) -> None:
        assert self.judged(a_slice(gain=-0.7, error=0.0)).judgement is Judgement.FAIL
        assert self.judged(a_slice(gain=0.0, error=0.0)).judgement is Judgement.PASS

    def test_no_slices_and_only_small_ones_are_told(self) -> None:
        assert slices.gate(evidence(evaluated())).sentence == "the definition names no slices"
        assert "no slice has the 200 rows to be judged (2 too small)" in self.judged().sentence


class TestCalibration:
    """Scores mean what they say."""

    @pytest.mark.parametrize(("error", "judgement"), [(0.1, "pass"), (0.101, "fail"), (float("nan"), "fail")])
    def test_an_error_above_the_limit_is_refused_without_alarm(self, error: float, judgement: str) -> None:
        gated = judged(evaluated(calibration=Calibration(bins=(), error=error, bias=-0.2)))
        assert judgements(gated)["calibration"] == judgement
        assert not gated.red

    def test_an_error_that_is_not_shown_to_be_beyond_the_limit_passes(self) -> None:
        drifted = Calibration(bins=(), error=0.15, bias=-0.15, low=0.09)
        verdict = calibration.gate(evidence(evaluated(calibration=drifted)))
        assert verdict.judgement is Judgement.PASS
        assert "is 0.15 standard deviations of the label (at least 0.09), at most 0.1 is allowed" in verdict.sentence
        worse = msgspec.structs.replace(drifted, low=0.11)
        assert calibration.gate(evidence(evaluated(calibration=worse))).judgement is Judgement.FAIL

    def test_where_the_champion_is_off_further_the_world_has_changed(self) -> None:
        off, further = (Calibration(bins=(), error=error, bias=error) for error in (0.15, 0.16))
        verdict = calibration.gate(evidence(evaluated(calibration=off, baseline_calibration=further)))
        assert verdict.judgement is Judgement.PASS
        assert "the champion's on the same rows (0.1 by itself)" in verdict.sentence
        swapped = evidence(evaluated(calibration=further, baseline_calibration=off))
        assert calibration.gate(swapped).judgement is Judgement.FAIL

    def test_the_trivial_baseline_excuses_nothing(self) -> None:
        off = Calibration(bins=(), error=0.15, bias=0.15)
        found = msgspec.structs.replace(against_trivial(4.0), calibration=off, baseline_calibration=off)
        assert calibration.gate(evidence(found)).judgement is Judgement.FAIL


class TestParity:
    """The compiled model scores as the estimator."""

    @pytest.mark.parametrize(
        ("parity", "told"),
        [
            (
                msgspec.structs.replace(EXACT, different_rows=1, largest_difference=1e-17),
                "1 of 100 scores are not those",
            ),
            (msgspec.structs.replace(EXACT, largest_difference=None), "scores that are not numbers"),
            (msgspec.structs.replace(EQUAL, largest_difference=2e-5), "by up to 2e-05, 1e-05 is allowed"),
            (msgspec.structs.replace(EQUAL, changed_decisions=3), "decides 3 of 100 rows otherwise"),
        ],
    )
    def test_a_conversion_that_scores_otherwise_is_refused_with_alarm(self, parity: Parity, told: str) -> None:
        gated = judged(evaluated(parity=parity))
        assert against(gated) == {"parity": "fail"}
        assert gated.red
        assert told in gated.sentence

    def test_a_refitted_model_is_held_to_the_same(self) -> None:
        assert against(judged(evaluated(refit_parity=EXACT), refit=True)) == {}
        wrong = msgspec.structs.replace(EQUAL, changed_decisions=3)
        gated = judged(evaluated(refit_parity=wrong), refit=True)
        assert against(gated) == {"parity": "fail"}
        assert "refitted on the holdout: the compiled model decides 3" in gated.sentence
        assert against(judged(evaluated(parity=wrong, refit_parity=EXACT), refit=True)) == {"parity": "fail"}
        assert against(judged(evaluated(), refit=True)) == {"parity": "error"}


def test_a_bundle_that_is_too_slow_is_refused_with_alarm() -> None:
    gated = judged(evaluated(load=load(load_s=11.0)))
    assert against(gated) == {"load": "fail"}
    assert gated.red


class TestSwitches:
    """Gates are turned off by name, and added."""

    def test_a_gate_that_is_turned_off_lets_through_and_says_why_and_what_it_would_have_said(self) -> None:
        off = msgspec.structs.replace(LIMITS, off={"calibration": "ranks only"})
        gated = judged(evaluated(calibration=Calibration(bins=(), error=0.5, bias=0.5)), gates=off)
        verdict = verdict_of(gated, "calibration")
        assert verdict.judgement is Judgement.OFF
        assert verdict.sentence.startswith("turned off (ranks only); it would have said fail: the mean error")
        assert gated.accepted
        assert "turned off: calibration" in gated.sentence

    def test_an_error_inside_a_gate_that_is_turned_off_is_off(self) -> None:
        off = msgspec.structs.replace(LIMITS, off={"load": "no process may be started here"})
        gated = judged(evaluated(load=None), gates=off)
        assert (judgements(gated)["load"], gated.accepted, gated.red) == ("off", True, False)

    def test_a_gate_of_the_definition_is_named_by_its_function_and_what_it_refuses_raises_the_alarm(self) -> None:
        def no_weekends(evidence: Evidence) -> Verdict:
            rows = evidence.evaluation().rows
            return Verdict(gate="anything", judgement=Judgement.FAIL, sentence=f"{rows} rows", value=1.0)

        gated = judged(evaluated(), gates=msgspec.structs.replace(LIMITS, own=[no_weekends]))
        assert against(gated) == {"no-weekends": "fail"}
        assert gated.red

    @pytest.mark.parametrize("answer", [True, None, Verdict(gate="x", judgement=Judgement.OFF, sentence="not today")])
    def test_a_gate_of_the_definition_that_gives_no_verdict_is_an_error(self, answer: Any) -> None:
        def mine(_: Evidence) -> Verdict:
            return answer  # type: ignore[no-any-return]

        assert against(judged(evaluated(), gates=msgspec.structs.replace(LIMITS, own=[mine]))) == {"mine": "error"}


def test_an_exception_inside_a_gate_is_a_verdict_and_the_other_gates_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(evidence: Evidence) -> Verdict:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(gates, "GATES", {"broken": broken, **gates.GATES})
    gated = judged(evaluated())
    assert against(gated) == {"broken": "error"}
    assert judgements(gated)[baseline.NAME] == "pass"
    assert (gated.accepted, gated.red) == (False, True)
    assert "oops" in gated.sentence


@pytest.mark.parametrize("found", [evaluated(), evaluated(None), None], ids=["passes", "no metric", "not trained"])
def test_every_result_of_the_gates_survives_json(found: Any) -> None:
    gated = judged(found)
    assert from_json(Gated, msgspec.json.decode(msgspec.json.encode(to_json(gated)))) == gated
    if found is not None:
        assert from_json(Evaluated, msgspec.json.decode(msgspec.json.encode(to_json(found)))) == found
    assert from_json(Validated, msgspec.json.decode(msgspec.json.encode(to_json(validated())))) == validated()
