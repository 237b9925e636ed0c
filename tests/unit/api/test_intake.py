"""What comes faster than it can be taken up waits for its turn, in its order."""

from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from scoring.api import intake
from scoring.api.intake import Intake


class Loop:
    """An event loop that turns when it is told to."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], None]] = deque()

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        for _ in range(len(self.soon)):
            self.soon.popleft()()


class Connection:
    """Notes what is taken up, and may do more then."""

    def __init__(self, then: Callable[[bytes], None] = lambda _data: None) -> None:
        self.taken: list[tuple[bytes, float]] = []
        self._then = then

    def take_up(self, data: bytes, came_s: float) -> None:
        self.taken.append((data, came_s))
        self._then(data)


def made(a_turn: int = 2) -> tuple[Loop, Intake]:
    loop = Loop()
    return loop, Intake(cast(Any, loop), a_turn)


def test_so_many_are_taken_up_at_once_and_the_rest_in_their_order_so_many_a_turn() -> None:
    loop, waiting = made()
    reader = Connection()
    assert [waiting.has_room(1) for _ in range(4)] == [True, True, False, False]
    for number in range(5):
        waiting.wait(reader, b"%d" % number)
    seen = []
    for _ in range(4):
        loop.turn()
        seen.append(b"".join(data for data, _ in reader.taken))
    assert seen == [b"01", b"0123", b"01234", b"01234"]
    assert [came_s for _, came_s in reader.taken] == sorted(came_s for _, came_s in reader.taken)
    assert not loop.soon  # who has nothing to do may wait for somebody to come


def test_nothing_overtakes_what_waits() -> None:
    loop, waiting = made()
    waiting.has_room(1), waiting.has_room(1)
    for _ in range(3):
        waiting.wait(Connection(), b"x")
    loop.turn()
    assert not waiting.has_room(1)
    loop.turn()
    assert waiting.has_room(1)


def test_a_probe_passes_those_who_wait_and_a_flood_of_them_does_not() -> None:
    loop, waiting = made()
    waiting.wait(Connection(), b"x")
    asked = [waiting.has_room(1, probe=True) for _ in range(intake.PROBES_A_TURN + 2)]
    assert asked == [True] * intake.PROBES_A_TURN + [False] * 2
    loop.turn()
    assert waiting.has_room(1, probe=True)


def test_what_came_is_the_time_at_which_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 2.0])
    monkeypatch.setattr("scoring.api.intake.time.perf_counter", lambda: next(times))
    loop, waiting = made()
    reader = Connection()
    waiting.wait(reader, b"a")
    waiting.wait(reader, b"b")
    loop.turn()
    assert reader.taken == [(b"a", 1.0), (b"b", 2.0)]


def test_what_would_take_too_much_memory_is_taken_up_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "WAITING_BYTES", 100)
    loop, waiting = made(1)
    waiting.wait(Connection(), b"x" * 60)
    assert not waiting.has_room(40)
    assert waiting.has_room(41)
    loop.turn()
    loop.turn()
    assert [waiting.has_room(41), waiting.has_room(41)] == [True, False]


def test_a_connection_that_fails_when_it_is_taken_up_leaves_the_others_their_turn() -> None:
    def fail(_data: bytes) -> None:
        raise RuntimeError("broken")

    loop, waiting = made()
    other = Connection()
    waiting.wait(Connection(fail), b"x")
    waiting.wait(other, b"y")
    with pytest.raises(RuntimeError):
        loop.turn()
    loop.turn()
    assert [data for data, _ in other.taken] == [b"y"]
