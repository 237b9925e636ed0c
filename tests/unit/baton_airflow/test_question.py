"""The question and its answer, as plain text and values."""

from datetime import UTC, datetime

import msgspec

from baton_airflow.question import MAXIMUM_REASON_CHARACTERS, MAXIMUM_SLICES, answered, body, subject, unseen
from scoring.contract.verdict import Judgement, Verdict
from tests.support.training import definition, request
from training import measured, results

DIGEST = "a" * 64
ADA = {"id": "7", "name": "ada"}
REGISTERED = results.Registered(version="3", manifest_digest=DIGEST, bundle=None, registry_run=None)
GATED = results.Gated(
    verdicts=(
        Verdict(gate="not-worse", judgement=Judgement.PASS, sentence="rmse 3.9 against 4.1", value=3.9, limit=4.1),
    ),
    sentence="the candidate of fare is accepted",
    red=False,
    parent=1,
)
PARITY = results.Parity(exact=True, tolerance=0, rows=3, different_rows=0, largest_difference=0, changed_decisions=0)


def gain(candidate: float, baseline: float, low: float | None = None) -> measured.Comparison:
    return measured.Comparison(
        metric="rmse", candidate=candidate, baseline=baseline, gain=baseline - candidate, low=low, high=None, error=0.1
    )


def sliced(value: str, comparison: measured.Comparison) -> measured.Slice:
    return measured.Slice(
        of="zone", value=value, rows=1_234, blocks=9, metrics={"rmse": 1.0}, errors={}, comparisons=(comparison,)
    )


EVALUATED = results.Evaluated(
    metrics={"rmse": 3.9},
    baseline=results.Baseline(kind=results.BaselineKind.CHAMPION, metrics={"rmse": 4.1}, version="2", sequence=1),
    parity=PARITY,
    rows=12_345,
    resampling=measured.Resampling(unit="day", blocks=30, resamples=1_000, confidence=0.95),
    comparisons=(gain(3.9, 4.1, low=0.05),),
    slices=measured.Slices(judged=(sliced("EWR", gain(3.0, 3.5)), sliced("J|K", gain(4.4, 4.0)))),
)


def event(option: str = "Approve", user: dict[str, str] | None = ADA, **form: object) -> dict[str, object]:
    return {
        "chosen_options": [option],
        "params_input": form,
        "responded_at": datetime(2026, 3, 1, tzinfo=UTC),
        "responded_by_user": user,
        "timedout": user is None,
    }


def test_the_question_names_who_asks_and_shows_candidate_beside_champion_and_every_verdict() -> None:
    asked = request(reason="monthly | retrain")
    text = body(definition(), asked, GATED, EVALUATED, REGISTERED)
    assert subject(definition(), REGISTERED) == "Promote version 3 of fare?"
    assert "Asked for by **somebody** (monthly \\| retrain)" in text
    assert "2024-01-01T00:00:00Z until 2024-04-01T00:00:00Z" in text
    assert "| 12,345 holdout rows | candidate | champion (version 2) | difference | gain ≥ (95%) |" in text
    assert "| rmse | 3.9 | 4.1 | -0.2 | 0.05 |" in text
    assert "| not-worse | pass | 3.9 | 4.1 | rmse 3.9 against 4.1 |" in text
    assert "Forced" not in text
    assert DIGEST in text
    assert text.endswith("answer in time, leaves the champion where it is.")


def test_the_slices_stand_in_the_question_the_worst_first_and_no_more_than_can_be_read() -> None:
    text = body(definition(), request(), GATED, EVALUATED, REGISTERED)
    worst, best = "| zone = J\\|K | 1,234 | rmse | 4.4 | 4 | -0.4 |", "| zone = EWR | 1,234 | rmse | 3 | 3.5 | +0.5 |"
    assert text.index(worst) < text.index(best)
    many = measured.Slices(judged=tuple(sliced(str(number), gain(3.0, 3.5)) for number in range(25)))
    crowded = msgspec.structs.replace(EVALUATED, slices=many)
    text = body(definition(), request(), GATED, crowded, REGISTERED)
    assert text.count("| zone = ") == MAXIMUM_SLICES
    assert "5 more in which it gains no less" in text


def test_a_forced_run_says_so() -> None:
    assert "**Forced**" in body(definition(), request(force=True, reason="now"), GATED, EVALUATED, REGISTERED)


def test_an_answer_holds_its_person_its_words_and_its_candidate() -> None:
    said = answered(DIGEST, event(reason="  fine \n now "), approved=True)
    assert said == results.Answered(manifest_digest=DIGEST, approved=True, by="ada (7)", reason="fine now")
    assert said.sentence == "approved by ada (7): fine now"


def test_without_a_person_nothing_is_approved_whatever_the_option_says() -> None:
    said = answered(DIGEST, event(user=None, reason="ignored"), approved=True)
    assert said == results.Answered(manifest_digest=DIGEST, approved=False, by=None, reason="")


def test_an_answer_to_another_candidate_than_the_one_that_was_shown_does_not_count() -> None:
    assert unseen(DIGEST, DIGEST) == ""
    assert "was to candidate bbbbbbbbbbbb, but the run has registered aaaaaaaaaaaa" in unseen(DIGEST, "b" * 64)
    assert "not on record" in unseen(DIGEST, None)


def test_what_no_database_stores_is_left_out_of_names_and_reasons() -> None:
    said = answered(DIGEST, event(user={"id": "x\x00", "name": "a\ud800da"}, reason="\x00" + "y" * 999), approved=False)
    assert said.by == "ada (x)"
    assert said.reason == "y" * MAXIMUM_REASON_CHARACTERS
    assert answered(DIGEST, event(user={"id": "7", "name": "7"}, reason=None), approved=False).by == "7"
    assert answered(DIGEST, event(user={"id": "", "name": ""}), approved=True).by == "somebody without a name"
