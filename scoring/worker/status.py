"""What the hot thread says about its models; the heartbeat thread adds what is being fetched (protocol A.9)."""

from collections import Counter
from collections.abc import Mapping, Sequence

from scoring.contract.acknowledgement import Position
from scoring.contract.heartbeat import ModelStatus, State
from scoring.worker.assignment import TRIES_BEFORE_WARNING
from scoring.worker.lag import Lag
from scoring.worker.models import ModelTable
from scoring.worker.partitions import Partition, Partitions, Pause, Place
from scoring.worker.readiness import PartitionView, Report

_UNKNOWN = Lag()
_HELD = {Pause.HELD, Pause.OTHER_LEDGER}
_SAID = {Pause.LOOKUP, Pause.BREAKER, Pause.APART, Pause.NO_OUTPUT}


def statuses(models: ModelTable, partitions: Partitions, lags: Mapping[Place, Lag]) -> dict[str, ModelStatus]:
    """The status of every model that is live here, or was retired."""
    return {model: _status(model, models, partitions, lags) for model in sorted(models.live.keys() | models.retired)}


def report_of(models: ModelTable, partitions: Partitions, lags: Mapping[Place, Lag]) -> Report:
    """What the hot thread says of itself beside the statuses."""
    views = []
    for partition in partitions.all():
        active = models.of_topic(partition.topic)
        lag = lags.get((partition.topic, partition.partition), _UNKNOWN)
        views.append(
            PartitionView(
                model="" if active is None else active.model,
                topic=partition.topic,
                partition=partition.partition,
                lag=lag.records,
                lag_s=lag.seconds,
                pauses=tuple(sorted(pause.code for pause in partition.pauses)),
            )
        )
    return Report(joined=partitions.joined, partitions=tuple(views), given_up=frozenset(models.given_up))


def _status(model: str, models: ModelTable, partitions: Partitions, lags: Mapping[Place, Lag]) -> ModelStatus:
    if model in models.retired:
        return ModelStatus(state=State.RETIRED, pending=models.retired[model])
    if model in models.given_up:
        return ModelStatus(
            state=State.REFUSED,
            sequence=models.live[model],
            pending=models.given_up[model],
            reason="it was refused here and the topic needs it, so this worker let go of the topic",
        )
    active = models.get(model)
    own = [] if active is None else partitions.of_topic(active.topics.input)
    held = [partition for partition in own if partition.pauses & _HELD]
    read = [partition for partition in own if partition.next_offset is not None]
    sequence = models.live[model]
    behind = [lags.get((partition.topic, partition.partition), _UNKNOWN) for partition in read]
    return ModelStatus(
        state=State.HELD if held else State.LIVE,
        sequence=sequence,
        version=active.version if active is not None and active.sequence == sequence else None,
        pending=max(partition.needs.sequence for partition in held) if held else None,
        reason=_reason(own),
        positions=tuple(position(partition, partition.next_offset or 0) for partition in read),
        lag=tuple(lag.records for lag in behind),
        lag_s=tuple(lag.seconds for lag in behind),
        paused=Counter(pause.code for partition in own for pause in partition.pauses),
    )


def position(partition: Partition, offset: int) -> Position:
    """A place in an assigned partition."""
    return Position(
        topic=partition.topic, topic_id=partition.topic_id or "", partition=partition.partition, offset=offset
    )


def _reason(partitions: Sequence[Partition]) -> str | None:
    """Why partitions are not being read, where somebody has to know."""
    reasons = {pause.value for partition in partitions for pause in partition.pauses & {*_HELD, *_SAID}}
    if any(partition.unreadable >= TRIES_BEFORE_WARNING for partition in partitions):
        reasons.add(f"{Pause.UNREAD.value}, which fails again and again; see the log")
    if any(partition.gone for partition in partitions):
        reasons.add("records were gone from the topic before they could be scored; see the log")
    return "; ".join(sorted(reasons)) or None
