"""A broker that dies or freezes, a worker that freezes, a member that is thrown out: nothing is lost or doubled."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from local.kafka.broker import Broker
from tests.support.bundles import score_of
from tests.support.ground import Ground, Warehouse, record
from tests.support.oracle import examine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

EXIT_AGAIN = 70


class Supervised:
    """A worker that is started again when it asks for it, as a supervisor would."""

    def __init__(self, ground: Ground, slot: int = 0) -> None:
        self.ground = ground
        self.slot = slot
        self.process: subprocess.Popen[bytes] = ground.start(slot)
        self.restarts = 0

    def tend(self) -> None:
        status = self.process.poll()
        if status is not None:
            assert status == EXIT_AGAIN, f"exit status {status}\n{self.ground.log_of(self.slot)[-2000:]}"
            self.process = self.ground.start(self.slot)
            self.restarts += 1


def tend_until(condition: Callable[[], bool], *workers: Supervised, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s\n{workers[0].ground.log_of(0)[-3000:]}"
        for worker in workers:
            worker.tend()
        time.sleep(0.3)  # the pace of looking


def done(ground: Ground) -> Callable[[], bool]:
    return lambda: len(ground.outcomes()) >= ground.produced


@pytest.mark.parametrize("away_s", [1.0, 6.0], ids=["shorter than the transaction timeout", "longer"])
def test_a_broker_that_is_killed_under_load_and_comes_back(
    own_broker: Broker, own_ground: Ground, away_s: float
) -> None:
    own_ground.promote(1)
    worker = Supervised(own_ground)
    own_ground.wait_for_state("live")
    own_ground.feed_until_progress(40_000)
    own_broker.kill()
    time.sleep(away_s)
    own_broker.start()
    tend_until(done(own_ground), worker)
    own_ground.feed(400)
    tend_until(done(own_ground), worker)
    report = examine(own_ground, score_of)
    assert report.faultless, report


def test_a_broker_that_freezes_for_longer_than_every_timeout(own_broker: Broker, own_ground: Ground) -> None:
    own_ground.promote(1)
    worker = Supervised(own_ground)
    own_ground.wait_for_state("live")
    own_ground.feed_until_progress(40_000)
    own_broker.suspend()
    time.sleep(9.0)
    own_broker.resume()
    tend_until(done(own_ground), worker)
    report = examine(own_ground, score_of)
    assert report.faultless, report


def test_a_worker_that_is_told_to_stop_while_the_broker_is_away_ends(own_broker: Broker, own_ground: Ground) -> None:
    own_ground.promote(1)
    worker = own_ground.start()
    own_ground.wait_for_state("live")
    own_ground.feed_until_progress(40_000)
    own_broker.kill()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(75) in {0, EXIT_AGAIN}

    own_broker.start()
    again = Supervised(own_ground)
    tend_until(done(own_ground), again)
    assert examine(own_ground, score_of).faultless


def test_an_idle_worker_that_is_told_to_stop_while_the_broker_is_away_ends_soon(
    own_broker: Broker, own_ground: Ground
) -> None:
    own_ground.promote(1)
    worker = own_ground.start()
    own_ground.wait_for_state("live")
    own_broker.kill()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


@pytest.mark.parametrize("moment", ["under load", "idle"])
def test_a_worker_that_freezes_while_another_one_takes_over_changes_nothing_when_it_wakes(
    ground: Ground, moment: str
) -> None:
    ground.promote(1)
    frozen, other = Supervised(ground, 0), Supervised(ground, 1)
    ground.wait_for_state("live", slot=0)
    ground.wait_for_state("live", slot=1)
    if moment == "under load":
        ground.feed_until_progress(30_000)
    os.kill(frozen.process.pid, signal.SIGSTOP)
    ground.feed(4_000)
    try:
        tend_until(done(ground), other)
    finally:
        os.kill(frozen.process.pid, signal.SIGCONT)
    ground.feed(4_000)
    tend_until(done(ground), frozen, other)
    report = examine(ground, score_of)
    assert report.faultless, report


def test_a_member_that_is_thrown_out_because_a_lookup_took_too_long_comes_back(
    ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> None:
    warehouse = Warehouse(tmp_path_factory.mktemp("warehouse") / "w.db")
    ground.variables["BATON_CONNECTIONS__WAREHOUSE"] = warehouse.url
    # A locked database answers after 5 s: by then the member was not heard of for longer than its group allows.
    ground.variables["BATON_KAFKA_OPTIONS"] = '{"max.poll.interval.ms": 3000}'
    ground.promote_with_weather(1)
    worker = Supervised(ground)
    ground.feed(40)
    tend_until(done(ground), worker)
    for _ in range(2):
        warehouse.go_away()
        for number in range(ground.produced, ground.produced + 40):
            ground.feed_raw(record(number), partition=number % 4)
        ground.wait_for_log("batch.put_back")
        warehouse.come_back()
        tend_until(done(ground), worker)
    report = examine(ground, score_of)
    assert report.lost == report.doubled == report.disordered == 0, report
    assert report.dead_letters == 0
    assert "Application maximum poll interval" in ground.log_of(0)
