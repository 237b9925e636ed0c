"""What the hot thread says about its models; the heartbeat thread adds what is being fetched (protocol A.9)."""

from collections.abc import Callable, Sequence

from scoring.contract.acknowledgement import Position
from scoring.contract.heartbeat import ModelStatus, State
from scoring.worker.assignment import TRIES_BEFORE_WARNING
from scoring.worker.models import ModelTable
from scoring.worker.partitions import Partition, Partitions, Pause

Lag = Callable[[Partition], int | None]
_HELD = {Pause.HELD, Pause.OTHER_LEDGER}
_SAID = {Pause.LOOKUP, Pause.BREAKER, Pause.NO_OUTPUT}


def statuses(models: ModelTable, partitions: Partitions, lag: Lag) -> dict[str, ModelStatus]:
    """The status of every model that is live here, or was retired.

    Args:
        lag: records behind the end of a partition; None where unknown.
    """
    return {model: _status(model, models, partitions, lag) for model in sorted(models.live.keys() | models.retired)}


def _status(model: str, models: ModelTable, partitions: Partitions, lag: Lag) -> ModelStatus:
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
    return ModelStatus(
        state=State.HELD if held else State.LIVE,
        sequence=sequence,
        version=active.version if active is not None and active.sequence == sequence else None,
        pending=max(partition.needs.sequence for partition in held) if held else None,
        reason=_reason(own),
        positions=tuple(position(partition, partition.next_offset or 0) for partition in read),
        lag=tuple(lag(partition) for partition in read),
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
