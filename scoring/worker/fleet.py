"""All workers at a glance, from their heartbeats: plain state with time as an argument, for ``baton top``."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from scoring.contract.heartbeat import Heartbeat, ModelStatus, State
from scoring.promotion.observer import LIVE_WITHIN_S, Presence


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one worker.

    Attributes:
        presence: whether the worker was heard of lately; ``unheard`` is only known from what it said before.
        silent_s: how long nothing was heard of it, in seconds; None where nothing was heard at all.
        version: the version that scores, and its sequence; None before there is one.
        pending: the sequence that is being fetched, was refused or is waited for.
        records_per_s: between its last two heartbeats; None before there were two.
        lag: records behind the ends of its partitions; None where unknown.
        lag_s: of the partition that is furthest behind.
        paused: how many of its partitions wait, by reason.
        delay_s: from a record's timestamp to its commit, the median of the last micro-batches; None where unknown.
        swap_pause_s: what taking in the last bundle took between two micro-batches; None where unknown.
    """

    worker: str
    instance: str
    presence: Presence
    silent_s: float | None
    model: str
    state: State
    version: str | None
    sequence: int | None
    pending: int | None
    partitions: tuple[int, ...]
    lag: int | None
    lag_s: float | None
    records: int
    records_per_s: float | None
    dead_letters: Mapping[str, int]
    paused: Mapping[str, int]
    reason: str | None
    delay_s: float | None
    swap_pause_s: float | None


class _Worker(msgspec.Struct):
    beat: Heartbeat
    heard_at_s: float | None
    before: Heartbeat | None = None


class Fleet:
    """What is known of the workers that were heard of.

    Args:
        deployment: only the workers of this one; None is all.
    """

    def __init__(self, deployment: str | None = None) -> None:
        self._deployment = deployment
        self._workers: dict[str, _Worker] = {}

    def hear(self, beat: Heartbeat, now_s: float | None) -> None:
        """Take a heartbeat unless it is late or doubled.

        Args:
            now_s: on the observer's own clock; None for one from before the observation, which says nothing of now.
        """
        if self._deployment is not None and not beat.worker.startswith(f"{self._deployment}/"):
            return
        known = self._workers.get(beat.worker)
        same = known is not None and known.beat.instance == beat.instance
        if known is not None and same and beat.counter <= known.beat.counter:
            return
        self._workers[beat.worker] = _Worker(beat, now_s, known.beat if known is not None and same else None)

    def rows(self, now_s: float) -> list[Row]:
        """A row per model and worker, in the order of deployment and slot."""
        return [row for name in sorted(self._workers, key=_order) for row in self._rows(self._workers[name], now_s)]

    def _rows(self, worker: _Worker, now_s: float) -> Iterable[Row]:
        beat = worker.beat
        silent_s = None if worker.heard_at_s is None else round(now_s - worker.heard_at_s, 1)
        for model, status in beat.models.items():
            yield Row(
                worker=beat.worker,
                instance=beat.instance,
                presence=Presence.LEFT if beat.left else _presence(silent_s),
                silent_s=silent_s,
                model=model,
                state=status.state,
                version=status.version,
                sequence=status.sequence,
                pending=status.pending,
                partitions=tuple(position.partition for position in status.positions),
                lag=_sum(status),
                lag_s=max((lag for lag in status.lag_s if lag is not None), default=None),
                records=status.records,
                records_per_s=_rate(worker, model),
                dead_letters=dict(status.dead_letters),
                paused=dict(status.paused),
                reason=status.reason,
                delay_s=status.delay_s,
                swap_pause_s=status.swap_pause_s,
            )


def totals(rows: Iterable[Row]) -> tuple[float, int, Counter[str]]:
    """Of the workers that are there: records per second, records behind, dead letters by reason."""
    here = [row for row in rows if row.presence is Presence.LIVE]
    letters: Counter[str] = Counter()
    for row in here:
        letters.update(row.dead_letters)
    return sum(row.records_per_s or 0.0 for row in here), sum(row.lag or 0 for row in here), letters


def _presence(silent_s: float | None) -> Presence:
    if silent_s is None:
        return Presence.UNHEARD
    return Presence.LIVE if silent_s <= LIVE_WITHIN_S else Presence.SILENT


def _rate(worker: _Worker, model: str) -> float | None:
    """Both moments are of the worker's own clock."""
    before = worker.before
    if before is None or model not in before.models:
        return None
    took_s = (worker.beat.at - before.at).total_seconds()
    made = worker.beat.models[model].records - before.models[model].records
    return round(made / took_s, 1) if took_s > 0 and made >= 0 else None


def _sum(status: ModelStatus) -> int | None:
    known = [lag for lag in status.lag if lag is not None]
    return sum(known) if known else None


def _order(worker: str) -> tuple[str, int, str]:
    deployment, _, slot = worker.rpartition("/")
    return deployment, int(slot) if slot.isdecimal() else -1, worker
