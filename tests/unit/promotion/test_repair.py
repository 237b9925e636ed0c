"""Repair against doubles of registry and topic, so that each turn of events can be had on purpose (protocol A.6)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scoring.contract.errors import Rejection, Unavailable
from scoring.contract.notice import Kind
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import NoticeState, Seen
from scoring.promotion.publisher import Fenced
from scoring.promotion.repair import MAXIMUM_ROUNDS, compare, repair, repair_all
from scoring.registry.folder import FolderRegistry
from scoring.registry.port import CHAMPION
from tests.support.bundles import make_bundle
from tests.support.decisions import LEDGER, proposal


class Board:
    """A notice board in memory; ``before`` is called before each publication."""

    def __init__(self, ledger: Ledger, before: Callable[[], None] = lambda: None) -> None:
        self.seen: dict[str, Seen] = {}
        self.published: list[int] = []
        self._ledger = ledger
        self._before = before

    def newest(self) -> dict[str, Seen]:
        return dict(self.seen)

    def publish_head(self, model: str) -> LedgerEntry | None:
        self._before()
        head = self._ledger.head(model)
        if head is not None:
            self.seen[model] = Seen(offset=0, notice=head.notice(self._ledger.identity()))
            self.published.append(head.sequence)
        return head


class Rig:
    """A ledger and a registry with three versions."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        (folder / "registry").mkdir()
        self.registry = FolderRegistry(folder / "registry")
        for number in (1, 2, 3):
            make_bundle(folder / "registry" / "small" / str(number), number)
        self.board = Board(self.ledger)
        self.paused: list[int] = []

    def decide(self, version: str, kind: Kind = Kind.PROMOTE) -> LedgerEntry:
        head = self.ledger.head("small")
        return self.ledger.decide(
            proposal(version, parent=head.sequence if head else 0, kind=kind, months=int(version))
        )

    def repair(self) -> list[tuple[str, str | None, str | None]]:
        done = repair("small", self.ledger, self.registry, self.board, pause=self.paused.append)
        return [(action.copy, action.was, action.now) for action in done.actions]

    def equal(self) -> bool:
        return compare("small", self.ledger, self.registry, self.board.newest()).equal


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_what_was_never_announced_is_announced_and_aliased(rig: Rig) -> None:
    rig.decide("1")
    assert not rig.equal()
    assert rig.repair() == [("notice", "absent", "sequence 1"), ("alias", None, "1")]
    assert rig.equal()


def test_repairing_again_does_nothing(rig: Rig) -> None:
    rig.decide("1")
    rig.repair()
    assert rig.repair() == []
    assert rig.board.published == [1]


def test_a_model_without_an_entry_needs_no_copies_and_loses_none(rig: Rig) -> None:
    rig.registry.set_alias("small", CHAMPION, "3")
    assert rig.repair() == []
    assert rig.equal()
    assert rig.registry.alias("small", CHAMPION) == "3"


def test_only_what_differs_is_written(rig: Rig) -> None:
    rig.decide("1")
    rig.repair()
    rig.registry.set_alias("small", CHAMPION, "3")
    assert rig.repair() == [("alias", "3", "1")]


def test_a_rollback_moves_both_copies_back(rig: Rig) -> None:
    rig.decide("1")
    rig.decide("2")
    rig.repair()
    rig.decide("1", Kind.ROLLBACK)
    assert rig.repair() == [("notice", "behind", "sequence 3"), ("alias", "2", "1")]


def test_a_retirement_takes_the_alias_away(rig: Rig) -> None:
    rig.decide("1")
    rig.repair()
    rig.decide("1", Kind.RETIRE)
    assert rig.repair() == [("notice", "behind", "sequence 2"), ("alias", "1", None)]
    assert rig.equal()


@pytest.mark.parametrize(
    ("rejection", "state"),
    [
        (Rejection.TOMBSTONE, NoticeState.TOMBSTONE),
        (Rejection.BAD_SIGNATURE, NoticeState.REJECTED),
        (Rejection.UNSIGNED, NoticeState.REJECTED),
    ],
)
def test_what_must_not_be_believed_is_overwritten(rig: Rig, rejection: Rejection, state: NoticeState) -> None:
    rig.decide("1")
    rig.repair()
    rig.board.seen["small"] = Seen(offset=9, rejection=rejection)
    assert rig.repair() == [("notice", state.value, "sequence 1")]


def test_a_notice_of_another_ledger_is_overwritten(rig: Rig) -> None:
    head = rig.decide("1")
    rig.repair()
    rig.board.seen["small"] = Seen(offset=9, notice=head.notice(LEDGER))
    assert rig.repair() == [("notice", "other-ledger", "sequence 1")]


def test_a_signed_notice_that_says_something_else_is_overwritten(rig: Rig) -> None:
    rig.decide("1")
    rig.repair()
    other = rig.ledger.decide(proposal("2", model="other"))
    rig.board.seen["small"] = Seen(offset=9, notice=other.notice(rig.ledger.identity()))
    assert rig.repair() == [("notice", "different", "sequence 1")]


def test_being_fenced_means_comparing_again(rig: Rig) -> None:
    rig.decide("1")
    fences = iter([True, True, False])

    def fenced_twice() -> None:
        if next(fences):
            raise Fenced("another publisher of small took over")

    rig.board = Board(rig.ledger, fenced_twice)
    assert rig.repair() == [("notice", "absent", "sequence 1"), ("alias", None, "1")]
    assert rig.paused == [0, 1]


def test_who_was_fenced_publishes_nothing_when_the_other_one_did(rig: Rig) -> None:
    rig.decide("1")

    def other_published() -> None:
        head = rig.ledger.head("small")
        assert head is not None
        rig.board.seen["small"] = Seen(offset=0, notice=head.notice(rig.ledger.identity()))
        raise Fenced("another publisher of small took over")

    rig.board = Board(rig.ledger, other_published)
    assert rig.repair() == [("alias", None, "1")]


def test_being_fenced_for_ever_ends(rig: Rig) -> None:
    rig.decide("1")

    def always() -> None:
        raise Fenced("another publisher of small took over")

    rig.board = Board(rig.ledger, always)
    with pytest.raises(Unavailable, match="baton reconcile"):
        rig.repair()
    assert rig.paused == list(range(MAXIMUM_ROUNDS))


def test_who_is_overtaken_while_repairing_corrects_what_it_wrote(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias is set by last-write-wins: the one who wrote an old one must notice, else it would stay."""
    rig.decide("1")
    set_alias = rig.registry.set_alias

    def overtaken(model: str, alias: str, version: str) -> None:
        if version == "1":
            rig.decide("2")
            set_alias(model, alias, "2")  # the other one was quicker
        set_alias(model, alias, version)

    monkeypatch.setattr(rig.registry, "set_alias", overtaken)
    rig.repair()
    assert rig.registry.alias("small", CHAMPION) == "2"
    assert rig.equal()


def test_the_notice_goes_out_even_when_the_registry_is_away(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the registry is away")

    rig.decide("1")
    monkeypatch.setattr(rig.registry, "alias", away)
    with pytest.raises(Unavailable):
        rig.repair()
    assert rig.board.published == [1]


def test_one_model_that_fails_does_not_keep_the_others_from_being_repaired(rig: Rig) -> None:
    rig.ledger.decide(proposal("1", model="absent"))  # the registry has no version of it
    rig.decide("1")
    done = repair_all(rig.ledger.models(), rig.ledger, rig.registry, rig.board, pause=rig.paused.append)
    assert [(found.model, found.error is None) for found in done] == [("absent", False), ("small", True)]
    assert "baton versions absent" in (done[0].error or "")
