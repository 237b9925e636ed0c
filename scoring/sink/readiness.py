"""Is this sink alive, and is it ready: what its hot thread says of itself, and pure judgements over that."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from scoring.sink.assignment import Assignment
from scoring.sink.partitions import Partition

# Longer than a sound write takes, and a database that has to be waited for.
LIVE_WITHIN_S = 60.0


class PartitionView(msgspec.Struct, frozen=True, kw_only=True):
    """One assigned partition.

    Attributes:
        next_offset: the next one that the tables do not hold; None while it waits for them.
        lag: offsets between the tables and its end; None where that is not known.
        lag_s: the age of the last record in the tables, or the time since they had all, whichever is less; 0 at the
            end, None where neither is known.
        problem: why it waits.
    """

    topic: str
    partition: int
    next_offset: int | None = None
    lag: int | None = None
    lag_s: float | None = None
    problem: str | None = None

    @property
    def labels(self) -> tuple[str, str]:
        """Topic and partition."""
        return self.topic, str(self.partition)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the hot thread says of itself, twice a second.

    Attributes:
        joined: the group has given this sink partitions, or none.
        problem: why the database cannot be written now; None while it can.
        missing: topics that are not there.
    """

    joined: bool = False
    problem: str | None = None
    missing: tuple[str, ...] = ()
    partitions: tuple[PartitionView, ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A sink as its operator sees it.

    Attributes:
        why_not: sentences that say what keeps it from being ready; empty when it is.
    """

    live: bool
    silent_s: float
    report: Report
    why_not: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it keeps everything that it should."""
        return self.live and not self.why_not

    @property
    def details(self) -> Mapping[str, object]:
        """What its probe tells beside that."""
        return {"partitions": self.report.partitions}


def report(assignment: Assignment, now: datetime, now_s: float) -> Report:
    """What there is to say; ``now_s`` is the monotonic clock."""
    partitions = assignment.partitions
    return Report(
        joined=partitions.joined,
        problem=assignment.problem,
        missing=tuple(assignment.missing()),
        partitions=tuple(_seen(partition, now, now_s) for partition in partitions.all()),
    )


def view(said: Report, silent_s: float, limit_s: float = LIVE_WITHIN_S) -> View:
    """Judge what the hot thread said, and how long it has been silent since."""
    return View(live=silent_s <= limit_s, silent_s=silent_s, report=said, why_not=_why_not(said))


def _seen(partition: Partition, now: datetime, now_s: float) -> PartitionView:
    lag = partition.lag
    if lag == 0:
        partition.ended_at_s = now_s
    return PartitionView(
        topic=partition.topic,
        partition=partition.number,
        next_offset=partition.next_offset,
        lag=lag,
        lag_s=None if lag is None else _lag_s(partition, lag, now, now_s),
        problem=partition.problem,
    )


def _lag_s(partition: Partition, lag: int, now: datetime, now_s: float) -> float | None:
    if lag == 0:
        return 0.0
    bounds = []
    if partition.ended_at_s is not None:
        bounds.append(now_s - partition.ended_at_s)
    if partition.newest_at is not None:
        bounds.append((now - partition.newest_at).total_seconds())
    return max(0.0, min(bounds)) if bounds else None


def _why_not(said: Report) -> tuple[str, ...]:
    reasons = [f"there is no topic {topic}; `baton topics create` makes it" for topic in said.missing]
    if said.problem is not None:
        return (*reasons, said.problem)
    if not said.joined:
        return (*reasons, "the group has not assigned partitions yet")
    waiting = [p for p in said.partitions if p.next_offset is None]
    return (*reasons, *(f"{p.topic}/{p.partition} waits: {p.problem or 'for its offset'}" for p in waiting))
