"""Is this worker alive, and is it ready: pure judgements over what the hot thread says of itself."""

from collections.abc import Mapping, Sequence

import msgspec

from scoring.contract.heartbeat import ModelStatus, State

# Much longer than any call of a sound worker takes, much shorter than what its watchdog waits for.
LIVE_WITHIN_S = 30.0
_SCORING = {State.LIVE, State.FETCHING, State.REFUSED}


class PartitionView(msgspec.Struct, frozen=True, kw_only=True):
    """One assigned partition.

    Attributes:
        lag: records behind its end; None where that is not known.
        lag_s: how long it is behind its end, in seconds; 0 at the end, None where that is not known.
        pauses: why it waits, by code; empty while it is scored.
    """

    model: str
    topic: str
    partition: int
    lag: int | None
    lag_s: float | None
    pauses: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, str]:
        """Topic and partition."""
        return self.topic, str(self.partition)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the hot thread says of itself, twice a second.

    Attributes:
        joined: whether the group has assigned partitions to this worker, or none, since it last subscribed.
        given_up: models whose topic this worker let go of, since it refused what the topic needs.
    """

    joined: bool = False
    partitions: tuple[PartitionView, ...] = ()
    given_up: frozenset[str] = frozenset()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as its operator sees it.

    Attributes:
        why_not: sentences that say what keeps it from being ready; empty when it is.
    """

    live: bool
    silent_s: float
    models: Mapping[str, ModelStatus]
    partitions: tuple[PartitionView, ...] = ()
    why_not: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it scores everything that it should."""
        return self.live and not self.why_not

    @property
    def details(self) -> Mapping[str, object]:
        """What its probe tells beside that."""
        return {"models": self.models}


def view(report: Report, models: Mapping[str, ModelStatus], silent_s: float, limit_s: float = LIVE_WITHIN_S) -> View:
    """Judge what the hot thread said, and how long it has been silent since."""
    return View(
        live=silent_s <= limit_s,
        silent_s=silent_s,
        models=models,
        partitions=report.partitions,
        why_not=tuple(_why_not(report, models)),
    )


def _why_not(report: Report, models: Mapping[str, ModelStatus]) -> Sequence[str]:
    serving = [name for name, status in models.items() if status.state is not State.RETIRED]
    reasons = []
    for name in serving:
        status = models[name]
        if name in report.given_up:
            reasons.append(f"{name}: this worker let go of its topic: {status.reason or status.state.value}")
        elif status.state is State.HELD or status.sequence is None or status.state not in _SCORING:
            reasons.append(f"{name}: {status.state.value}{f': {status.reason}' if status.reason else ''}")
    if serving and not reasons and not report.joined:
        reasons.append("the group has not assigned partitions yet")
    waiting = [f"{p.topic}/{p.partition}" for p in report.partitions if set(p.pauses) & {"held", "other-ledger"}]
    if waiting and not reasons:
        reasons.append(f"partitions are held: {', '.join(waiting)}")
    return reasons
