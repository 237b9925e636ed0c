"""Repair by comparing states: until alias = head of the ledger and newest notice = head (protocol A.6).

There is no queue and no outbox. A process that was killed anywhere between the decision and its copies leaves a
difference, and the next one to compare (a run's start, a schedule, a person) removes it.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from scoring.contract.errors import BatonError, Unavailable
from scoring.contract.notice import Kind
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import NoticeBoard, NoticeState, Seen
from scoring.promotion.publisher import Fenced
from scoring.registry.port import CHAMPION, Registry

# Each round ends equal, fenced by another publisher, or overtaken by a new decision.
MAXIMUM_ROUNDS = 8
_FIRST_PAUSE_S = 0.1

Newest = Mapping[str, Seen]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's head beside its copies.

    Attributes:
        wanted: the version that the alias must name; None where none must be named.
    """

    model: str
    sequence: int | None
    wanted: str | None
    alias: str | None
    notice: NoticeState

    @property
    def equal(self) -> bool:
        """Whether both copies are right. A model without an entry needs none."""
        return self.sequence is None or (self.alias == self.wanted and self.notice is NoticeState.CURRENT)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that repair did: ``copy`` is ``alias`` or ``notice``."""

    copy: str
    was: str | None
    now: str | None


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What repair found and did for one model; ``error`` says why the copies are still not equal."""

    model: str
    sequence: int | None = None
    version: str | None = None
    actions: tuple[Action, ...] = ()
    error: str | None = None


def backing_off(attempt: int) -> None:
    """Wait before comparing again, longer and at random: two that fence each other must not stay in step."""
    time.sleep(random.uniform(0.5, 1.5) * _FIRST_PAUSE_S * 2**attempt)  # noqa: S311 - no secret


def compare(model: str, ledger: Ledger, registry: Registry, newest: Newest) -> Comparison:
    """Hold the copies against the ledger's head, changing nothing.

    Raises:
        Unavailable, ConfigurationError: one of them cannot be read.
    """
    head = ledger.head(model)
    if head is None:
        return Comparison(model=model, sequence=None, wanted=None, alias=None, notice=NoticeState.ABSENT)
    return Comparison(
        model=model,
        sequence=head.sequence,
        wanted=_wanted(head),
        alias=registry.alias(model, CHAMPION),
        notice=_state(newest.get(model), head, ledger),
    )


def repair(
    model: str,
    ledger: Ledger,
    registry: Registry,
    board: NoticeBoard,
    *,
    newest: Newest | None = None,
    pause: Callable[[int], None] = backing_off,
) -> Repaired:
    """Make both copies equal to the ledger's head of ``model``. Safe to repeat, and to run in many processes at once.

    The notice goes first: workers wait for it, and only other people's tools read the alias.

    Args:
        newest: what the topic says, where the caller has just read it.

    Raises:
        Unavailable: one of the systems cannot be reached, or the head moved on faster than its copies could follow.
        ConfigurationError: access is refused, or a topic is missing.
    """
    actions: list[Action] = []
    announced: LedgerEntry | None = None
    for attempt in range(MAXIMUM_ROUNDS):
        head = ledger.head(model)
        if head is None:
            return Repaired(model=model)
        was = NoticeState.BEHIND
        if announced is None:
            was = _state((board.newest() if newest is None else newest).get(model), head, ledger)
            newest = None
            announced = head if was is NoticeState.CURRENT else None
        if announced != head:
            try:
                announced = board.publish_head(model)
            except Fenced:
                announced = None
                pause(attempt)
                continue
            actions.append(Action(copy="notice", was=was.value, now=_sequence(announced)))
        if announced is not None:
            actions.extend(_set_alias(registry, announced))
        # Read after the copies were written: who was overtaken meanwhile corrects what it wrote.
        if announced is not None and ledger.head(model) == announced:
            return Repaired(model=model, sequence=announced.sequence, version=announced.version, actions=tuple(actions))
    raise Unavailable(
        f"{model}: alias and notice are still not equal to the ledger's head after {MAXIMUM_ROUNDS} rounds; other "
        "processes keep publishing; run `baton reconcile` again"
    )


def repair_all(
    models: Iterable[str],
    ledger: Ledger,
    registry: Registry,
    board: NoticeBoard,
    *,
    pause: Callable[[int], None] = backing_off,
) -> list[Repaired]:
    """Repair each model; one that fails does not keep the others from being repaired.

    Raises:
        Unavailable, ConfigurationError: the topic cannot be read at all.
    """
    newest = board.newest()
    done = []
    for model in models:
        try:
            done.append(repair(model, ledger, registry, board, newest=newest, pause=pause))
        except BatonError as error:
            done.append(Repaired(model=model, error=str(error)))
    return done


def _state(seen: Seen | None, head: LedgerEntry, ledger: Ledger) -> NoticeState:
    return NoticeState.ABSENT if seen is None else seen.state(head, ledger.identity())


def _wanted(head: LedgerEntry) -> str | None:
    return None if head.kind is Kind.RETIRE else head.version


def _set_alias(registry: Registry, head: LedgerEntry) -> list[Action]:
    wanted, found = _wanted(head), registry.alias(head.model, CHAMPION)
    if found == wanted:
        return []
    if wanted is None:
        registry.remove_alias(head.model, CHAMPION)
    else:
        registry.set_alias(head.model, CHAMPION, wanted)
    return [Action(copy="alias", was=found, now=wanted)]


def _sequence(entry: LedgerEntry | None) -> str | None:
    return None if entry is None else f"sequence {entry.sequence}"
