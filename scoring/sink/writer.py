"""Writes a batch in a thread of its own, while the next one is read: database and Python then work at the same time."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import msgspec

from scoring.predictions.writing import Batch


class Outcome(msgspec.Struct, frozen=True):
    """A batch that was written: what its transaction took, and when it was committed."""

    took_s: float
    at: datetime


class Writer:
    """One batch at a time is under way; the hot thread calls everything here.

    Args:
        write: writes a batch, all or nothing.
        now: the time of day.
    """

    def __init__(
        self,
        write: Callable[[Batch], None],
        now: Callable[[], datetime],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._now = now
        self._clock_s = clock_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._under_way: Future[Outcome] | None = None

    def begin(self, batch: Batch) -> None:
        """Write a batch; the one before has ended."""
        self._under_way = self._thread.submit(self.write, batch)

    def end(self) -> Outcome:
        """Wait for the batch that is under way; raises what ``write`` raised."""
        under_way, self._under_way = self._under_way, None
        if under_way is None:
            raise RuntimeError("no batch is being written")
        return under_way.result()

    def write(self, batch: Batch) -> Outcome:
        """Write a batch in this very thread."""
        began_s = self._clock_s()
        self._write(batch)
        return Outcome(self._clock_s() - began_s, self._now())
