"""How a model is being served: one sentence that says whether all is well, the workers, and the last swap."""

from collections.abc import Sequence

import msgspec

from baton_airflow.page.listening import Crew
from scoring.contract.acknowledgement import Acknowledgement, Outcome
from scoring.contract.heartbeat import State
from scoring.contract.notice import Kind
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.observer import Presence
from scoring.worker.fleet import Row, totals


class Health(msgspec.Struct, frozen=True):
    """How it stands.

    Attributes:
        level: ``good``, ``busy`` (something is under way), ``bad`` or ``quiet`` (nothing is expected).
    """

    level: str
    sentence: str


class Arrival(msgspec.Struct, frozen=True):
    """What one worker did with the ledger's newest entry.

    Attributes:
        took_s: from reading the notice to scoring with it, with the download.
        pause_s: for how long scoring stood still; None where the worker has not said.
    """

    worker: str
    live: bool
    took_s: float
    pause_s: float | None
    reason: str | None


class Stream(msgspec.Struct, frozen=True):
    """All live workers of a model together.

    Attributes:
        delay_s: of the slowest.
        letters: dead letters since the workers started, by reason.
    """

    live: int
    records_per_s: float
    lag: int
    delay_s: float | None
    letters: dict[str, int]


def health(head: LedgerEntry | None, rows: Sequence[Row]) -> Health:
    """Whether every live worker scores with what the ledger says."""
    live = [row for row in rows if row.presence is Presence.LIVE]
    if head is None:
        return Health("quiet", "Nothing was promoted yet. The first run that passes every gate makes the champion.")
    if not live:
        return Health(
            "bad", "No worker that serves this model was heard. Records wait in their topic, and are not lost."
        )
    if head.kind is Kind.RETIRE:
        return Health("quiet", "The model is retired: records wait in their topic until something is promoted.")
    refusing = [row for row in live if row.state is State.REFUSED]
    if refusing:
        first = refusing[0]
        return Health(
            "bad", f"{first.worker} refuses entry {first.pending} and scores on with the one before: {first.reason}"
        )
    waiting = [row for row in live if row.sequence != head.sequence or row.state is not State.LIVE]
    if waiting:
        return Health("busy", f"{_of(len(waiting), len(live))} not yet on version {head.version}.")
    return Health("good", f"{_all(len(live))} with version {head.version}.")


def stream(rows: Sequence[Row]) -> Stream:
    """The sums over the live workers."""
    rate, lag, letters = totals(rows)
    live = [row for row in rows if row.presence is Presence.LIVE]
    delays = [row.delay_s for row in live if row.delay_s is not None]
    return Stream(len(live), rate, lag, max(delays, default=None), dict(letters.most_common()))


def arrivals(head: LedgerEntry | None, crew: Crew) -> tuple[Arrival, ...]:
    """How the newest entry reached each worker; none where nobody said anything."""
    if head is None:
        return ()
    rows = {row.worker: row for row in crew.of(head.model)}
    return tuple(_arrival(said, rows.get(said.worker)) for said in crew.answers_to(head.model, head.sequence))


def _arrival(said: Acknowledgement, row: Row | None) -> Arrival:
    same = row is not None and (row.instance, row.sequence) == (said.instance, said.sequence)
    return Arrival(
        worker=said.worker,
        live=said.outcome is Outcome.LIVE,
        took_s=max(0.0, (said.at - said.noticed_at).total_seconds()),
        pause_s=row.swap_pause_s if row is not None and same else None,
        reason=said.reason,
    )


def _of(some: int, count: int) -> str:
    return "The one worker is" if count == 1 else f"{some} of {count} workers {'is' if some == 1 else 'are'}"


def _all(count: int) -> str:
    return "The one worker scores" if count == 1 else f"All {count} workers score"
