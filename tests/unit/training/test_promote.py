"""What a refused decision, and a person's answer, mean for the run: with the ledger's own rules, on SQLite."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scoring.contract.errors import ConfigurationError, DecisionRefused
from scoring.contract.verdict import Judgement, Verdict
from scoring.promotion import decide, rules
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.rules import LostRace, NotProven, OlderData, RolledBack, Unfounded
from scoring.settings import Settings
from tests.support.decisions import proposal
from tests.support.training import definition, request
from training.definition import Approval, ModelDefinition
from training.promote import foresee, promote
from training.refusals import GREEN, GREEN_GATES, Refusal, ends_green, refusal_of
from training.results import Answered, Gated, Promoted, Registered

DIGEST, OTHER = "a" * 64, "b" * 64
PASSED = Verdict(gate="data", judgement=Judgement.PASS, sentence="all hold")
GATED = Gated(verdicts=(PASSED,), sentence="accepted", red=False, parent=0)
REGISTERED = Registered(version="1", manifest_digest=DIGEST, bundle="/bundle", registry_run=None)
ASKING = definition(approval=Approval(within=timedelta(hours=1)))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(decide, "read_back", lambda *_: None)
    (tmp_path / "registry").mkdir()
    return Settings(ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}", registry_uri=(tmp_path / "registry").as_uri())


def decided(
    settings: Settings, made: ModelDefinition | None = None, answered: Answered | None = None, **asked: Any
) -> Promoted:
    return promote(made or definition(), request(**asked), settings, GATED, REGISTERED, answered)


def head(settings: Settings) -> LedgerEntry | None:
    return Ledger.open(settings.need_ledger_url()).head("fare")


def yes(digest: str = DIGEST, reason: str = "") -> Answered:
    return Answered(manifest_digest=digest, approved=True, by="ada", reason=reason)


@pytest.mark.parametrize(
    ("error", "refusal", "green"),
    [
        (OlderData("older"), "older-interval", True),
        (LostRace(proposal(), None), "lost-race", True),
        (RolledBack("rolled back"), "rolled-back", False),
        (NotProven("no verdict"), "not-proven", False),
        (Unfounded("champion already"), "unfounded", False),
        (DecisionRefused("another run's"), "forbidden", False),
    ],
)
def test_each_rule_of_the_ledger_ends_the_run_in_its_colour(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: DecisionRefused, refusal: str, green: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(decide, "promote", refuse)
    promoted = decided(settings)
    assert (promoted.sequence, promoted.refusal, promoted.red) == (None, refusal, not green)
    assert promoted.refused == str(error)


def test_every_rule_that_the_ledger_has_stands_in_the_table() -> None:
    kinds = [kind for kind in vars(rules).values() if isinstance(kind, type) and issubclass(kind, DecisionRefused)]
    known = {refusal_of(kind.__new__(kind)) for kind in kinds if kind is not DecisionRefused}
    assert len(known) == 5
    assert Refusal.FORBIDDEN not in known


def test_exactly_what_is_nobodys_fault_ends_green() -> None:
    names = {"minimum-quality", "not-worse", "slices", "calibration"}
    assert names == GREEN_GATES
    assert names | {"older-interval", "lost-race", "rejected", "unanswered"} == GREEN
    gates = ("data", "freshness", "volume", "leakage", "parity", "load", "rejected", "my_own_gate")
    assert not any(ends_green(gate) for gate in gates)


def test_without_an_approval_nobody_is_needed(settings: Settings) -> None:
    promoted = decided(settings, reason="monthly")
    made = head(settings)
    assert promoted.sequence == 1
    assert made is not None
    assert (made.actor, made.reason) == ("somebody", "monthly")


def test_the_ledger_names_who_approved_and_who_asked(settings: Settings) -> None:
    promoted = decided(settings, ASKING, yes(reason="looks right"), reason="monthly")
    made = head(settings)
    assert promoted.sequence == 1
    assert made is not None
    assert made.actor == "ada"
    assert made.reason == "approved by ada: looks right; asked for by somebody: monthly"


@pytest.mark.parametrize(
    ("answered", "refusal", "red"),
    [
        (None, "not-approved", True),
        (yes(OTHER), "not-approved", True),
        (Answered(manifest_digest=DIGEST, approved=True, by=None), "unanswered", False),
        (Answered(manifest_digest=DIGEST, approved=False, by=None), "unanswered", False),
        (Answered(manifest_digest=DIGEST, approved=False, by="ada", reason="no"), "rejected", False),
    ],
    ids=["nobody was asked", "another candidate", "approved by nobody", "silence", "rejected"],
)
def test_without_a_persons_approval_of_this_very_candidate_nothing_is_decided(
    settings: Settings, answered: Answered | None, refusal: str, red: bool
) -> None:
    promoted = decided(settings, ASKING, answered)
    assert (promoted.sequence, promoted.refusal, promoted.red) == (None, refusal, red)
    assert head(settings) is None


def test_a_refusal_of_the_ledger_is_foreseen_before_anybody_is_asked(settings: Settings) -> None:
    assert foresee(ASKING, request(), settings, GATED, REGISTERED) is None
    assert head(settings) is None
    decided(settings, ASKING, yes())
    other = Registered(version="2", manifest_digest=OTHER, bundle="/bundle", registry_run=None)
    found = foresee(ASKING, request(run_id="another"), settings, GATED, other)
    assert found is not None
    assert (found.refusal, found.red, found.sequence) == ("lost-race", False, None)


def test_force_does_not_stand_in_for_an_approval(settings: Settings) -> None:
    assert decided(settings, ASKING, None, force=True, reason="now").sequence is None
    assert head(settings) is None


def test_an_answer_that_nobody_asked_for_changes_nothing(settings: Settings) -> None:
    refused = Answered(manifest_digest=DIGEST, approved=False, by="ada")
    assert decided(settings, definition(), refused).sequence == 1


@pytest.mark.parametrize(
    ("approval", "mistake"),
    [
        (Approval(within=timedelta(0)), "within is 0:00:00"),
        (Approval(within=timedelta(days=31)), "at most 30 days"),
        (Approval(by="ada"), "list the ids"),
        (Approval(by=["ada", " "]), "list the ids"),
        (Approval(by=["ada", "ada"]), "twice"),
    ],
)
def test_an_approval_that_nobody_could_give_is_a_mistake_of_the_definition(approval: Approval, mistake: str) -> None:
    with pytest.raises(ConfigurationError, match=mistake):
        definition(approval=approval)
