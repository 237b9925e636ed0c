"""Decisions of the page: entries of the ledger with the user's name, made once, on what the person saw."""

from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from baton_airflow.page import again
from baton_airflow.page.acting import Order, carry_out, promoting, rolling_back
from scoring.contract.errors import Unavailable
from scoring.contract.manifest import MANIFEST_FILE, decode_manifest
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.registry.folder import FolderRegistry
from scoring.registry.port import Registry
from scoring.settings import Settings
from tests.support.bundles import make_bundle
from tests.support.decisions import PASSED


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Four registered versions of ``small``, the last of which no gate has judged, an empty ledger, and no broker."""
    (tmp_path / "registry").mkdir()
    registry = FolderRegistry(tmp_path / "registry")
    for number in (1, 2, 3, 4):
        folder = tmp_path / "made" / str(number)
        make_bundle(folder, number)
        if number < 4:
            manifest = decode_manifest((folder / MANIFEST_FILE).read_bytes())
            (folder / MANIFEST_FILE).write_bytes(msgspec.structs.replace(manifest, verdicts=PASSED).encode())
        registry.register("small", folder, {})
    Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    return Settings(registry_uri=(tmp_path / "registry").as_uri(), ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}")


def order(version: str, head: int) -> Order:
    return Order(
        model="small", version=version, head=head, reason="seen in review", actor="ada (7)", decision=str(uuid4())
    )


def ledger(settings: Settings) -> Ledger:
    return Ledger.open(settings.need_ledger_url())


def test_a_promotion_and_a_rollback_carry_the_users_name_and_reason(settings: Settings) -> None:
    for number in (1, 2):
        told = carry_out(promoting, order(str(number), number - 1), settings)
        assert told.good
        assert f"promote of version {number}, entry {number} of the ledger" in told.sentence
    assert carry_out(rolling_back, order("", 2), settings).good
    found = ledger(settings).entries("small")
    assert [(entry.kind.value, entry.version) for entry in found] == [
        ("promote", "1"),
        ("promote", "2"),
        ("rollback", "1"),
    ]
    assert {(entry.actor, entry.reason) for entry in found} == {("ada (7)", "seen in review")}


def test_a_decision_stands_although_nobody_can_be_told_and_the_page_says_who_will_tell(settings: Settings) -> None:
    told = carry_out(promoting, order("1", 0), settings)
    assert told.good
    assert "BATON_KAFKA_BOOTSTRAP is not set" in told.sentence
    assert "baton_reconcile tells them" in told.sentence


@pytest.mark.parametrize("decide", [promoting, rolling_back])
def test_a_form_that_is_sent_twice_decides_once(settings: Settings, decide: object) -> None:
    for number in (1, 2):
        carry_out(promoting, order(str(number), number - 1), settings)
    does, asked = (promoting, order("3", 2)) if decide is promoting else (rolling_back, order("1", 2))
    assert [carry_out(does, asked, settings).good for _ in range(2)] == [True, True]
    assert len(ledger(settings).entries("small")) == 3


@pytest.mark.parametrize("decide", [promoting, rolling_back])
def test_a_decision_on_what_is_no_longer_so_is_refused_with_what_is(settings: Settings, decide: object) -> None:
    for number in (1, 2):
        carry_out(promoting, order(str(number), number - 1), settings)
    does, asked = (promoting, order("3", 1)) if decide is promoting else (rolling_back, order("1", 1))
    told = carry_out(does, asked, settings)
    assert not told.good
    assert "Nothing was decided." in told.sentence
    assert "sequence 2 (version 2, by ada (7))" in told.sentence
    assert len(ledger(settings).entries("small")) == 2


def test_what_was_rolled_back_is_not_promoted_by_a_button(settings: Settings) -> None:
    for number in (1, 2):
        carry_out(promoting, order(str(number), number - 1), settings)
    carry_out(rolling_back, order("1", 2), settings)
    told = carry_out(promoting, order("2", 3), settings)
    assert not told.good
    assert "was rolled back at sequence 3" in told.sentence


def test_a_candidate_that_no_gate_has_judged_is_not_promoted_by_a_button(settings: Settings) -> None:
    told = carry_out(promoting, order("4", 0), settings)
    assert not told.good
    assert "carries no verdict of any gate" in told.sentence


def test_a_ledger_that_is_not_there_is_not_made_by_a_button(settings: Settings, tmp_path: Path) -> None:
    missing = tmp_path / "elsewhere.db"
    told = carry_out(promoting, order("1", 0), settings.model_copy(update={"ledger_url": f"sqlite:///{missing}"}))
    assert not told.good
    assert not missing.exists()


def test_an_order_names_its_decision_in_the_ledger() -> None:
    asked = order("1", 0)
    assert asked.run_id == f"page-{asked.decision}"
    assert msgspec.structs.replace(asked, version="2").run_id == asked.run_id


class Locked:
    """Promotes, but fails a number of times before, or behind the entry that it made."""

    def __init__(self, times: int, *, decided: bool = False) -> None:
        self._times = times
        self._decided = decided
        self.asked = 0

    def __call__(self, ledger: Ledger, registry: Registry, asked: Order) -> LedgerEntry:
        self.asked += 1
        failing = self.asked <= self._times
        if failing and not self._decided:
            raise Unavailable("the ledger: database is locked")
        entry = promoting(ledger, registry, asked)
        if failing:
            raise Unavailable("the ledger: the connection was lost")
        return entry


@pytest.mark.parametrize("decided", [False, True])
def test_a_ledger_that_is_away_for_a_moment_is_asked_again_and_decides_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, decided: bool
) -> None:
    monkeypatch.setattr(again, "EVERY_S", 0.0)
    locked = Locked(3, decided=decided)
    assert carry_out(locked, order("1", 0), settings).good
    assert locked.asked == 4
    assert [entry.version for entry in ledger(settings).entries("small")] == ["1"]


def test_a_ledger_that_stays_away_is_told_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "EVERY_S", 0.0)
    monkeypatch.setattr(again, "FOR_S", 0.2)
    locked = Locked(10**9)
    told = carry_out(locked, order("1", 0), settings)
    assert not told.good
    assert told.sentence == "Nothing was decided. the ledger: database is locked"
    assert locked.asked > 1
