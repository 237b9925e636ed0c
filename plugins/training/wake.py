"""A wake-up: what starts a run that neither the schedule nor a person started. Imports no client library."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.retrain import Asked

# People read a few reasons; how many messages there were is counted.
MAXIMUM_TOLD = 3


class NewLabels(msgspec.Struct, frozen=True, kw_only=True):
    """Labels in the source that became known since the champion's data ended start a run.

    Attributes:
        rows: at least so many.
    """

    rows: int

    def mistakes(self) -> Iterator[str]:
        """Every mistake, a sentence each."""
        if self.rows < 1:
            yield f"retrain_on: rows is {self.rows}; a run needs at least one new label"


def cool_down_mistakes(cool_down: timedelta) -> Iterator[str]:
    """What is wrong with a cool-down, a sentence each."""
    if not timedelta(0) <= cool_down <= timedelta(days=2):
        yield f"cool_down is {cool_down}; give at most 2 days, for as long does a request wait at the longest"


class WakeUp(msgspec.Struct, frozen=True, kw_only=True):
    """What woke a run, and what it covers.

    Attributes:
        until: the run takes everything up to this moment.
        messages: how many requests it covers; 0 where labels alone woke it.
        labels: how many labels are new; 0 where nobody counted.
        by: who asked, each once.
        reasons: the newest few, each once.
    """

    until: Moment
    messages: int = 0
    labels: int = 0
    by: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def actor(self) -> str:
        """Who started the run, for the ledger."""
        if not self.by:
            return "new labels"
        others = len(self.by) - 1
        return self.by[0] if not others else f"{self.by[0]} and {others} other{'s' if others > 1 else ''}"

    @property
    def sentence(self) -> str:
        """Why the run was started, for people."""
        if not self.messages:
            return f"{self.labels:,} new labels are known"
        count = "a message" if self.messages == 1 else f"{self.messages:,} messages"
        return f"asked for by {count}: {'; '.join(self.reasons)}"


def wake_up(asked: Sequence[Asked], until: datetime) -> WakeUp:
    """What a run covers that these requests start."""
    newest = [each.request for each in reversed(asked)]
    return WakeUp(
        until=until,
        messages=len(asked),
        by=tuple(dict.fromkeys(request.by for request in newest)),
        reasons=tuple(dict.fromkeys(request.reason for request in newest))[:MAXIMUM_TOLD],
    )


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """The last run that was started by an event.

    Attributes:
        at: when it was started; the cool-down counts from then.
        until: it took everything up to this moment.
    """

    run_id: str
    at: Moment
    until: Moment


class Step(StrEnum):
    """What is to be done now."""

    NOTHING = "nothing"
    WAIT = "wait"
    START = "start"


def next_step(
    *, pending: bool, active: bool, covered: Covered | None, cool_down: timedelta, now: datetime
) -> tuple[Step, datetime | None]:
    """What is to be done about a model, and when to look again where the time of that is known.

    Args:
        pending: somebody asked, or enough labels are new.
        active: a run of the model goes on, or waits to begin.
    """
    if not pending:
        return Step.NOTHING, None
    if covered is not None and (over := covered.at + cool_down) > now:
        return Step.WAIT, over
    return (Step.WAIT, None) if active else (Step.START, None)
