"""Short forms of the campaign of replays: each record goes back at most once, and a planted bug is caught."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from local.kafka.broker import Broker
from tests.faults.letters.replays import DONE, POINTS, Child, Nursery, Plan
from tests.faults.letters.rounds import LETTERS, at_once, frozen, killed
from tests.faults.letters.stage import Letters

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SEED = 99
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("replays")) as opened:
        yield opened


def test_replays_that_are_killed_at_every_step_put_each_record_back_once(broker: Broker, nursery: Nursery) -> None:
    line = killed(broker.bootstrap, nursery, random.Random(SEED), points=POINTS)
    assert line["kills"] == len(POINTS)


def test_replays_at_the_same_time_put_each_record_back_once(broker: Broker, nursery: Nursery, tmp_path: Path) -> None:
    line = at_once(broker.bootstrap, nursery, random.Random(SEED), tmp_path)
    assert line["replays"] == 3


@pytest.mark.parametrize("at", [("noted.after", 1), ("produce.after", 15), ("commit_transaction.before", 2)])
def test_a_replay_that_wakes_up_after_another_one_took_over_puts_nothing_back(
    broker: Broker, nursery: Nursery, at: tuple[str, int]
) -> None:
    line = frozen(broker.bootstrap, nursery, random.Random(SEED), at=at)
    assert (line["frozen"], line["overtaken"]) == (1, 1)


def test_notes_outside_of_the_transaction_are_caught(broker: Broker, nursery: Nursery) -> None:
    with pytest.raises(AssertionError, match="unnoted=10"):
        killed(
            broker.bootstrap, nursery, random.Random(SEED), bug="notes-outside", points=("commit_transaction.after",)
        )


def test_notes_before_the_transaction_are_caught(broker: Broker, nursery: Nursery) -> None:
    with pytest.raises(AssertionError, match="unsent=10"):
        killed(
            broker.bootstrap, nursery, random.Random(SEED), bug="notes-before", points=("commit_transaction.before",)
        )


def test_records_outside_of_the_transaction_are_caught(broker: Broker, nursery: Nursery) -> None:
    with pytest.raises(AssertionError, match="unnoted=10"):
        killed(
            broker.bootstrap,
            nursery,
            random.Random(SEED),
            bug="records-outside",
            points=("commit_transaction.before",),
        )


def test_replays_that_do_not_fence_each_other_are_caught(broker: Broker, nursery: Nursery) -> None:
    with pytest.raises(AssertionError, match="doubled=80"):
        frozen(broker.bootstrap, nursery, random.Random(SEED), bug="unfenced", at=("noted.after", 1))


def test_a_replay_that_is_given_the_pid_of_one_that_has_ended_is_waited_for(broker: Broker, nursery: Nursery) -> None:
    letters = Letters(broker.bootstrap, LETTERS)
    plan = Plan(bootstrap=broker.bootstrap, model=letters.model, point="noted.before")
    first = nursery.start(plan)
    assert first.wait() == -signal.SIGKILL
    second, status = started_as(nursery, first.pid, msgspec.structs.replace(plan, point=None))
    assert second.pid == first.pid
    letters.rest()
    assert (status, letters.judge().replayed) == (DONE, LETTERS)


def started_as(nursery: Nursery, pid: int, plan: Plan) -> tuple[Child, int]:
    """A replay with that pid, and what the nursery says of its end; others may take the pid in between."""
    for _ in range(100):
        try:
            LAST_PID.write_text(str(pid - 1))
        except OSError:
            pytest.skip("pids can be chosen by root alone, on Linux")
        child = nursery.start(plan)
        status = child.wait()
        if child.pid == pid:
            return child, status
    pytest.skip("the pid is always somebody else's")
