"""Promote, roll back, retire: what is checked before the insert (protocol A.1, A.3)."""

from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.manifest import MODEL_FILE
from scoring.contract.notice import Kind
from scoring.promotion.decide import promote, proposal_of, read_back, retire, rollback
from scoring.promotion.entry import LedgerEntry, Proposal
from scoring.promotion.ledger import Ledger
from scoring.promotion.rules import LostRace, NotProven, Unfounded
from scoring.registry.folder import FolderRegistry
from tests.support.bundles import make_bundle
from tests.support.decisions import proposal


class Rig:
    """A ledger, and a registry with three versions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        self.registry = FolderRegistry(folder / "registry")
        self.digests = {
            str(number): make_bundle(folder / "registry" / "small" / str(number), number) for number in (1, 2, 3)
        }

    def proposal(self, version: str, *, parent: int | None = None, run_id: str | None = None) -> Proposal:
        head = self.ledger.head("small")
        on = parent if parent is not None else head.sequence if head else 0
        return proposal(version, parent=on, run_id=run_id, digest=self.digests[version])

    def promote(self, version: str) -> LedgerEntry:
        return promote(self.ledger, self.registry, self.proposal(version))

    def rollback(self, to: str | None = None, *, run_id: str = "back", while_head: int | None = None) -> LedgerEntry:
        return rollback(
            self.ledger,
            self.registry,
            "small",
            actor="oncall",
            reason="worse",
            run_id=run_id,
            to_version=to,
            while_head=while_head,
        )

    def damage(self, version: str) -> None:
        path = self.folder / "registry" / "small" / version / MODEL_FILE
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")

    def versions(self) -> list[str]:
        return [entry.version for entry in self.ledger.entries("small")]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_bundle_that_reads_back_whole_is_promoted(rig: Rig) -> None:
    assert rig.promote("1").version == "1"


def test_a_bundle_that_the_registry_gives_back_damaged_is_not_promoted(rig: Rig) -> None:
    rig.damage("1")
    with pytest.raises(BundleRejected, match="wrong SHA-256"):
        rig.promote("1")
    assert rig.versions() == []


def test_another_bundle_under_the_version_is_not_promoted(rig: Rig) -> None:
    rig.digests["1"] = rig.digests["2"]
    with pytest.raises(BundleRejected, match="was announced"):
        rig.promote("1")
    assert rig.versions() == []


def test_a_version_that_is_not_there_is_not_promoted(rig: Rig) -> None:
    rig.digests["9"] = rig.digests["1"]
    with pytest.raises(ConfigurationError, match="no version 9"):
        rig.promote("9")
    assert rig.versions() == []


def test_a_registry_that_is_away_decides_nothing(rig: Rig) -> None:
    (rig.folder / "registry").rename(rig.folder / "away")
    with pytest.raises(Unavailable, match="mounted"):
        rig.promote("1")
    assert rig.versions() == []


def test_without_reading_back_the_ledger_would_name_a_bundle_that_nobody_can_fetch(rig: Rig) -> None:
    """The planted bug: inserting straight into the ledger (protocol A.1 left out)."""
    rig.damage("1")
    rig.ledger.decide(rig.proposal("1"))
    assert rig.versions() == ["1"]
    with pytest.raises(BundleRejected):
        read_back(rig.registry, "small", "1", rig.digests["1"])


def test_a_retry_needs_no_registry_and_returns_what_it_decided(rig: Rig) -> None:
    made = promote(rig.ledger, rig.registry, rig.proposal("1", run_id="run"))
    (rig.folder / "registry").rename(rig.folder / "away")
    assert promote(rig.ledger, rig.registry, rig.proposal("1", run_id="run")) == made


def test_a_proposal_carries_the_manifests_interval_and_verdicts(rig: Rig) -> None:
    manifest, digest = read_back(rig.registry, "small", "1", None)
    made = proposal_of(manifest, digest, version="1", parent=0, run_id="r", actor="a", reason="b")
    assert made.manifest_digest == rig.digests["1"]
    assert made.interval.end == manifest.snapshot.end
    assert made.evidence == manifest.verdicts == ()
    with pytest.raises(NotProven):
        promote(rig.ledger, rig.registry, made)


def test_a_rollback_goes_one_champion_back_and_keeps_the_evidence(rig: Rig) -> None:
    first = rig.promote("1")
    rig.promote("2")
    back = rig.rollback()
    assert (back.kind, back.version, back.sequence, back.actor) == (Kind.ROLLBACK, "1", 3, "oncall")
    assert (back.evidence, back.interval) == (first.evidence, first.interval)


def test_a_rollback_goes_to_any_earlier_version(rig: Rig) -> None:
    for version in ("1", "2", "3"):
        rig.promote(version)
    assert rig.rollback("1").version == "1"
    assert rig.rollback("3", run_id="forth").version == "3"


def test_a_retried_rollback_does_not_go_further_back(rig: Rig) -> None:
    for version in ("1", "2", "3"):
        rig.promote(version)
    made = rig.rollback()
    assert rig.rollback() == made
    assert rig.rollback("2") == made
    assert rig.versions() == ["1", "2", "3", "2"]


def test_a_rollback_to_a_bundle_that_cannot_be_fetched_is_refused(rig: Rig) -> None:
    rig.promote("1")
    rig.promote("2")
    rig.damage("1")
    with pytest.raises(BundleRejected):
        rig.rollback()
    assert rig.versions() == ["1", "2"]


def test_an_automatic_rollback_happens_only_while_what_it_saw_fail_is_the_head(rig: Rig) -> None:
    for version in ("1", "2", "3"):
        rig.promote(version)
    with pytest.raises(LostRace):
        rig.rollback(while_head=2)
    assert rig.rollback(while_head=3).sequence == 4


def test_there_is_nothing_to_roll_back_to_below_the_first(rig: Rig) -> None:
    with pytest.raises(Unfounded, match="no entry"):
        rig.rollback()
    rig.promote("1")
    with pytest.raises(Unfounded, match="no champion before"):
        rig.rollback()
    with pytest.raises(Unfounded, match="never promoted; the ledger knows 1"):
        rig.rollback("2")


def test_a_retirement_needs_no_bundle_and_names_the_version_that_it_ends(rig: Rig) -> None:
    rig.promote("1")
    (rig.folder / "registry").rename(rig.folder / "away")
    ended = retire(rig.ledger, "small", actor="oncall", reason="replaced", run_id="end")
    assert (ended.kind, ended.version, ended.sequence) == (Kind.RETIRE, "1", 2)
    assert retire(rig.ledger, "small", actor="oncall", reason="replaced", run_id="end") == ended
    with pytest.raises(Unfounded, match="retired already"):
        retire(rig.ledger, "small", actor="oncall", reason="replaced", run_id="again")
