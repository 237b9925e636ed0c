"""The ledger's rules, without a database."""

import msgspec
import pytest

from scoring.contract.errors import ConfigurationError, DecisionRefused
from scoring.contract.notice import Kind
from scoring.contract.verdict import Judgement, Verdict
from scoring.promotion.rules import (
    LostRace,
    NotProven,
    OlderData,
    RolledBack,
    Unfounded,
    check,
    previous_champion,
    rolled_back,
    standing,
)
from tests.support.decisions import digest_for, history, proposal


def test_a_first_promotion_on_an_empty_ledger_passes() -> None:
    check([], proposal("1"))


@pytest.mark.parametrize("parent", [0, 1, 3])
def test_a_decision_on_anything_but_the_head_has_lost_the_race_even_by_force(parent: int) -> None:
    with pytest.raises(LostRace, match="sequence 2"):
        check(history("promote 1", "promote 2"), proposal("3", parent=parent, forced=True))


def test_a_lost_race_tells_the_present_head_and_what_to_do() -> None:
    with pytest.raises(LostRace, match="evaluate the candidate against the present champion") as lost:
        check(history("promote 1"), proposal("2", parent=0))
    assert lost.value.head is not None
    assert lost.value.head.sequence == 1


def test_a_candidate_without_evidence_is_refused() -> None:
    with pytest.raises(NotProven, match="no verdict"):
        check([], proposal("1", evidence=()))


@pytest.mark.parametrize("judgement", [Judgement.FAIL, Judgement.ERROR])
def test_one_gate_that_did_not_pass_refuses_and_its_sentence_is_told(judgement: Judgement) -> None:
    verdicts = (
        Verdict(gate="a", judgement=Judgement.PASS, sentence="fine"),
        Verdict(gate="b", judgement=judgement, sentence="too slow by half"),
    )
    with pytest.raises(NotProven, match="b: too slow by half"):
        check([], proposal("1", evidence=verdicts))


def test_a_gate_that_is_turned_off_refuses_nothing_but_proves_nothing_either() -> None:
    off = Verdict(gate="calibration", judgement=Judgement.OFF, sentence="turned off (ranks only)")
    check([], proposal("1", evidence=(Verdict(gate="a", judgement=Judgement.PASS, sentence="fine"), off)))
    with pytest.raises(NotProven, match="no verdict of any gate"):
        check([], proposal("1", evidence=(off,)))


def test_force_overrules_evidence_rollback_and_older_data() -> None:
    entries = history("promote 1", "promote 3", "rollback 1")
    check(entries, proposal("3", parent=3, months=1, evidence=(), forced=True))


def test_a_rolled_back_version_is_refused_with_who_rolled_it_back() -> None:
    with pytest.raises(RolledBack, match="rolled back at sequence 3 by tester"):
        check(history("promote 1", "promote 2", "rollback 1"), proposal("2", parent=3, months=2))


def test_the_same_bundle_under_another_version_counts_as_rolled_back() -> None:
    again = proposal("9", digest=digest_for("2"), parent=3, months=2)
    with pytest.raises(RolledBack):
        check(history("promote 1", "promote 2", "rollback 1"), again)


def test_a_rollback_over_two_versions_rolls_both_back() -> None:
    assert set(rolled_back(history("promote 1", "promote 2", "promote 3", "rollback 1"))) == {
        digest_for("2"),
        digest_for("3"),
    }


def test_a_version_that_a_later_rollback_brings_back_stands_again() -> None:
    taken_back = rolled_back(history("promote 1", "promote 2", "rollback 1", "rollback 2"))
    assert set(taken_back) == {digest_for("1")}


def test_a_version_that_is_promoted_again_stands_again() -> None:
    assert rolled_back(history("promote 1", "promote 2", "rollback 1", "promote 2")) == {}


def test_data_that_ends_before_that_of_the_champion_is_refused() -> None:
    with pytest.raises(OlderData, match="go back with a rollback"):
        check(history("promote 1", "promote 3"), proposal("4", parent=2, months=2))


def test_data_that_ends_together_with_that_of_the_champion_is_not_older() -> None:
    check(history("promote 1", "promote 3"), proposal("4", parent=2, months=3))


def test_a_rolled_back_version_is_no_measure_of_age() -> None:
    check(history("promote 1", "promote 5", "rollback 1"), proposal("4", parent=3, months=2))


def test_a_retirement_changes_nothing_about_what_is_older() -> None:
    with pytest.raises(OlderData):
        check(history("promote 3", "retire 3"), proposal("4", parent=2, months=2))


def test_the_champion_is_not_promoted_again() -> None:
    with pytest.raises(Unfounded, match="champion already, since sequence 1"):
        check(history("promote 1"), proposal("1", parent=1))


def test_a_retired_model_comes_back_with_the_version_it_had() -> None:
    check(history("promote 1", "retire 1"), proposal("1", parent=2))
    check(history("promote 1", "retire 1"), proposal("1", parent=2, kind=Kind.ROLLBACK))


@pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RETIRE])
def test_nothing_is_rolled_back_or_retired_on_an_empty_ledger(kind: Kind) -> None:
    with pytest.raises(Unfounded, match="no entry"):
        check([], proposal("1", kind=kind))


def test_a_rollback_to_a_version_that_never_was_champion_is_refused() -> None:
    with pytest.raises(Unfounded, match="never promoted"):
        check(history("promote 1"), proposal("2", parent=1, kind=Kind.ROLLBACK))


def test_a_retired_model_is_not_retired_again() -> None:
    with pytest.raises(Unfounded, match="retired already"):
        check(history("promote 1", "retire 1"), proposal("1", parent=2, kind=Kind.RETIRE))


@pytest.mark.parametrize(
    ("steps", "goes_to"),
    [
        (["promote 1"], None),
        (["promote 1", "promote 2"], "1"),
        (["promote 1", "promote 2", "promote 3"], "2"),
        (["promote 1", "promote 2", "promote 3", "rollback 2"], "1"),
        (["promote 1", "promote 2", "rollback 1"], None),
        (["promote 1", "promote 2", "rollback 1", "promote 3"], "1"),
        (["promote 1", "promote 2", "retire 2"], "2"),
    ],
)
def test_a_rollback_without_a_target_goes_one_standing_champion_back(steps: list[str], goes_to: str | None) -> None:
    found = previous_champion(history(*steps))
    assert (found.version if found else None) == goes_to


def test_what_stands_after_a_rollback_is_the_version_it_went_to() -> None:
    found = standing(history("promote 1", "promote 2", "rollback 1"))
    assert found is not None
    assert (found.version, found.sequence) == ("1", 1)


@pytest.mark.parametrize("text", ["", "   ", "nul\x00", "half\ud800", "x" * 4001])
def test_a_text_that_a_database_would_change_or_refuse_is_refused_before(text: str) -> None:
    with pytest.raises(ConfigurationError, match="reason"):
        msgspec.structs.replace(proposal("1"), reason=text)


def test_naive_times_are_refused_before_they_reach_a_database() -> None:
    naive = proposal("1").interval.end.replace(tzinfo=None)
    with pytest.raises(ConfigurationError, match="no time zone"):
        msgspec.structs.replace(proposal("1"), effective_from=naive)


def test_every_refusal_is_a_decision_refused() -> None:
    assert all(issubclass(kind, DecisionRefused) for kind in (LostRace, RolledBack, OlderData, NotProven, Unfounded))
