"""Short forms of the daemon's fault campaigns, on a real broker; the full ones are run with ``campaign``.

The shortest form of all, which runs with the ordinary tests, is ``tests/acceptance/test_kills.py``.
"""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.daemon.crew import Crew
from tests.faults.daemon.oracle import judge
from tests.faults.daemon.outage_rounds import broker_round, network_round
from tests.faults.daemon.points import POINTS
from tests.faults.daemon.reader import Reader
from tests.faults.daemon.rounds import kill_round
from tests.faults.daemon.stage import Stage, stage
from tests.faults.daemon.zombie_rounds import zombie_round

pytestmark = [pytest.mark.faults, pytest.mark.timeout(280)]
SEED = 99


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


def faultless(line: dict[str, Any], records: int) -> None:
    assert line["records"] >= records
    assert line["predictions"] + line["dead_letters"] == line["records"]


def test_there_are_at_least_thirty_points_at_which_workers_die() -> None:
    assert len(POINTS) >= 60


def test_kills_at_named_points_while_versions_change_and_partitions_move(ground: Stage) -> None:
    line = kill_round(ground, 3, SEED, 6, records=12_000)
    faultless(line, 12_000)
    assert line["kills"] >= 6
    assert sum(line["points"].values()) >= 4
    assert line["swaps"] >= 1


def test_a_broker_that_is_killed_by_a_worker_in_the_middle_of_a_call(ground: Stage) -> None:
    faultless(broker_round(ground, 0, SEED, 1), 8_000)


def test_frozen_workers_that_wake_up_after_they_were_succeeded(ground: Stage) -> None:
    line = zombie_round(ground, 0, SEED, 2)
    faultless(line, 8_000)
    assert sum(line["outcomes"].values()) == 2


def test_connections_that_are_cut_stalled_and_slow(ground: Stage) -> None:
    faultless(network_round(ground, 0, SEED, 3), 8_000)


def test_the_oracle_sees_offsets_that_are_committed_outside_the_transaction(ground: Stage) -> None:
    field = ground.field("planted")
    with Reader(field) as reader:
        crew = Crew(field, reader, random.Random(SEED), [], slots=1)
        crew.promote()
        (post,) = crew.posts
        post.arm({"bug": "offsets-outside", "point": "commit.after", "count": 4})
        doomed = post.child
        assert doomed is not None
        crew.wait(lambda: doomed.poll() is not None, 30, lambda: "it never came by its point")
        crew.wait_for_progress(30, "after the kill")
        crew.close()
        assert judge(field, reader).doubled > 0
