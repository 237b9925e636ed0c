"""A hot thread that hangs ends the process; one that comes round does not."""

import threading

import pytest

from scoring.service.ending import EXIT_AGAIN
from scoring.service.watchdog import Watchdog


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_hot_thread_that_comes_round_is_left_alone(clock: Clock) -> None:
    ended: list[int] = []
    watchdog = Watchdog(event="worker.must_exit", limit_s=10, clock_s=clock, end=ended.append)
    for _ in range(5):
        clock.now_s += 9
        watchdog.look()
        watchdog.beat()
    assert not ended


def test_one_that_hangs_ends_the_process_so_that_a_fresh_one_starts(clock: Clock) -> None:
    ended: list[int] = []
    watchdog = Watchdog(event="worker.must_exit", limit_s=10, clock_s=clock, end=ended.append)
    clock.now_s += 10.1
    watchdog.look()
    assert ended == [EXIT_AGAIN]


def test_the_thread_looks_by_itself_until_it_is_stopped() -> None:
    ended = threading.Event()
    watchdog = Watchdog(event="worker.must_exit", limit_s=0.1, end=lambda _: ended.set())
    watchdog.start()
    assert ended.wait(10)
    watchdog.stop()
