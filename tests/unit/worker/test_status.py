"""What a heartbeat says: the hot thread's status merged with what is being fetched."""

from typing import cast
from uuid import UUID

import pytest

from scoring.contract.heartbeat import ModelStatus, State
from scoring.contract.progress import Progress
from scoring.worker.fetching import Phase
from scoring.worker.heartbeat import merge
from scoring.worker.lag import Lag
from scoring.worker.models import Active, ModelTable
from scoring.worker.partitions import Partition, Partitions, Pause
from scoring.worker.status import statuses

LIVE = ModelStatus(state=State.LIVE, sequence=3, version="3")
HELD = ModelStatus(state=State.HELD, sequence=3, version="3", pending=5, reason="held")
RETIRED = ModelStatus(state=State.RETIRED, pending=4)


@pytest.mark.parametrize(
    ("scoring", "phase", "expected"),
    [
        (None, Phase(State.WAITING), (State.WAITING, None, None)),
        (None, Phase(State.FETCHING, 3), (State.FETCHING, None, 3)),
        (None, Phase(State.LIVE, 3), (State.FETCHING, None, 3)),  # ready, but not yet acknowledged
        (None, Phase(State.REFUSED, 3, "why"), (State.REFUSED, None, 3)),
        (LIVE, Phase(State.LIVE, 3), (State.LIVE, 3, None)),
        (LIVE, Phase(State.FETCHING, 4), (State.FETCHING, 3, 4)),
        (LIVE, Phase(State.LIVE, 4), (State.FETCHING, 3, 4)),
        (LIVE, Phase(State.REFUSED, 4, "why"), (State.REFUSED, 3, 4)),
        (HELD, Phase(State.FETCHING, 5), (State.HELD, 3, 5)),
        (HELD, Phase(State.REFUSED, 5, "why"), (State.HELD, 3, 5)),
        (RETIRED, Phase(State.RETIRED, 4), (State.RETIRED, None, 4)),
        (RETIRED, Phase(State.FETCHING, 5), (State.FETCHING, None, 5)),
        (RETIRED, Phase(State.REFUSED, 5, "why"), (State.REFUSED, None, 5)),
    ],
)
def test_what_counts(scoring: ModelStatus | None, phase: Phase, expected: tuple[State, int | None, int | None]) -> None:
    found = merge(scoring, phase)
    assert (found.state, found.sequence, found.pending) == expected


def test_a_reason_beside_a_good_state_is_said() -> None:
    assert merge(LIVE, Phase(State.LIVE, 3, "notices are of another ledger")).reason == "notices are of another ledger"
    assert merge(None, Phase(State.WAITING, reason="notices are of another ledger")).state is State.WAITING


class Made:
    """What of an active bundle counts for its status."""

    class topics:  # noqa: N801 - an attribute
        input = "small.input"

    def __init__(self, sequence: int) -> None:
        self.model = "small"
        self.sequence = sequence
        self.version = str(sequence)


def table(sequence: int) -> ModelTable:
    models = ModelTable()
    models._activate(cast("Active", Made(sequence)))
    return models


def partitions(*made: Partition) -> Partitions:
    found = Partitions()
    found._table = {(partition.topic, partition.partition): partition for partition in made}
    return found


def at(number: int, offset: int | None, *pauses: Pause, needs: int = 0) -> Partition:
    ledger = UUID(int=7)
    return Partition("small.input", number, "id", offset, Progress(ledger, needs), pauses=set(pauses))


def test_nothing_is_said_of_a_model_before_it_went_live() -> None:
    assert statuses(table(1), partitions(at(0, 5)), {}) == {}


def test_the_version_that_scores_is_said_once_it_is_the_live_one() -> None:
    models = table(2)
    models.live["small"] = 1
    assert statuses(models, partitions(), {})["small"].version is None
    models.live["small"] = 2
    assert statuses(models, partitions(), {})["small"].version == "2"


def test_positions_and_lag_are_those_of_partitions_that_were_read() -> None:
    models = table(2)
    models.live["small"] = 2
    lags = {("small.input", 0): Lag(0, 0.0), ("small.input", 2): Lag(2, 1.5)}
    found = statuses(models, partitions(at(0, 5), at(1, None, Pause.UNREAD), at(2, 7)), lags)["small"]
    assert found.state is State.LIVE
    assert [(position.partition, position.offset) for position in found.positions] == [(0, 5), (2, 7)]
    assert found.lag == (0, 2)
    assert found.lag_s == (0.0, 1.5)
    assert found.paused == {"unread": 1}


def test_the_newest_sequence_that_a_partition_needs_is_named() -> None:
    models = table(2)
    models.live["small"] = 2
    held = partitions(at(0, 5, Pause.HELD, needs=4), at(1, 5, Pause.HELD, needs=3), at(2, 5))
    found = statuses(models, held, {})["small"]
    assert (found.state, found.pending, found.reason) == (State.HELD, 4, Pause.HELD.value)
