"""Requests are taken up in the order in which they came, so many in a turn of the event loop.

A loop that takes up whatever is there turns once for a thousand requests when there is more than can be carried; and
every step of an answer (its task begins, its scores are there, it is sent) waits for a turn. So most of what is read
waits here, where it is known since when, and its connection is not read any further meanwhile.
"""

import asyncio
import time
from collections import deque
from typing import Protocol

# Where all of them are refused this is a turn of a few milliseconds.
A_TURN = 32
# Probes pass those who wait; more of them than that are no probes.
PROBES_A_TURN = 4
# Where more waits it is taken up as it comes.
WAITING_BYTES = 16 * 2**20


class Reader(Protocol):
    """A connection."""

    def take_up(self, data: bytes, came_s: float) -> None:
        """Go on with what was read from it at this time, by ``time.perf_counter``."""


class Intake:
    """What was read and is not taken up yet. The event loop alone uses it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, a_turn: int = A_TURN) -> None:
        self._loop = loop
        self._a_turn = a_turn
        self._taken = self._probes = 0  # in this turn
        self._turning = False
        self._waiting: deque[tuple[Reader, bytes, float]] = deque()
        self._waiting_bytes = 0

    def has_room(self, size_bytes: int, *, probe: bool = False) -> bool:
        """Whether so much, which was read just now, is to be taken up just now."""
        if probe and self._probes < PROBES_A_TURN:
            self._probes += 1
            self._turn()
            return True
        if self._waiting or self._taken >= self._a_turn:
            return self._waiting_bytes + size_bytes > WAITING_BYTES
        self._taken += 1
        self._turn()
        return True

    def wait(self, reader: Reader, data: bytes) -> None:
        """Let it be taken up in its turn."""
        self._waiting.append((reader, data, time.perf_counter()))
        self._waiting_bytes += len(data)
        self._turn()

    def _turn(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turned)

    def _turned(self) -> None:
        """Called once a turn, until nothing was taken up in one."""
        self._taken = self._probes = 0
        self._turning = False
        while self._waiting and self._taken < self._a_turn:
            reader, data, came_s = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._taken += 1
            self._turn()
            reader.take_up(data, came_s)
