"""Cyclic garbage: who collects it, and when."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from scoring.worker.garbage import ALL_AT_LAST_S, ALL_EVERY_S, YOUNG_EVERY_S, Garbage


class Cycle:
    def __init__(self) -> None:
        self.me = self


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def garbage(clock: Clock) -> Iterator[Garbage]:
    taken = Garbage(clock)
    taken.begin()
    yield taken
    taken.end()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def left_behind() -> "weakref.ref[Cycle]":
    return weakref.ref(Cycle())


def test_what_is_young_goes_within_a_second_however_busy_the_worker_is(garbage: Garbage, clock: Clock) -> None:
    assert not gc.isenabled()
    dead = left_behind()
    garbage.look(idle=False)
    assert dead() is not None
    clock.now_s += YOUNG_EVERY_S
    garbage.look(idle=False)
    assert dead() is None


@pytest.mark.parametrize(("idle", "after_s"), [(True, ALL_EVERY_S), (False, ALL_AT_LAST_S)])
def test_what_got_old_before_it_died_goes_too(garbage: Garbage, clock: Clock, idle: bool, after_s: float) -> None:
    alive = Cycle()
    dead = weakref.ref(alive)
    for _ in range(3):
        clock.now_s += YOUNG_EVERY_S
        garbage.look(idle=False)
    del alive
    clock.now_s += after_s - 4 * YOUNG_EVERY_S
    garbage.look(idle=idle)
    assert dead() is not None
    clock.now_s += YOUNG_EVERY_S
    garbage.look(idle=idle)
    assert dead() is None
