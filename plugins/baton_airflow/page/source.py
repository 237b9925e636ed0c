"""Something that is read in a thread of its own, waited for only so long, and kept for a moment."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog

from scoring.contract.errors import BatonError

log = structlog.get_logger(__name__)

Value = TypeVar("Value")

PATIENCE_S = 3.0


class Seen(Generic[Value]):
    """What is known of something, and why it is no more.

    Attributes:
        value: the newest that was read; None where nothing ever was.
        at: when that was read.
        problem: why there is nothing newer, for people; None where all is well.
        slow: whether it is only late, and may still come.
    """

    def __init__(
        self, value: Value | None = None, at: datetime | None = None, problem: str | None = None, *, slow: bool = False
    ) -> None:
        self.value = value
        self.at = at
        self.problem = problem
        self.slow = slow


class _Kept(Generic[Value]):
    """The last reading, and the one under way."""

    def __init__(self) -> None:
        self.value: Value | None = None
        self.at: datetime | None = None
        self.problem: str | None = None
        self.ended_at_s = float("-inf")
        self.under_way: Future[None] | None = None


class Source(Generic[Value]):
    """Reads by key, each at most once at a time; whoever asks meanwhile waits for the same reading.

    A reading that hangs costs one thread, and those who ask see what was read before.

    Args:
        name: what is read, for people.
        read: blocks, and raises BatonError where it cannot.
        fresh_s: how long what was read, or that it could not be, counts as known.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[str], Value],
        *,
        fresh_s: float,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._read = read
        self._fresh_s = fresh_s
        self._patience_s = patience_s
        self._clock = clock
        self._kept: dict[str, _Kept[Value]] = {}
        self._lock = threading.Lock()

    async def see(self, key: str = "") -> Seen[Value]:
        """What is known by now, after waiting for at most the patience."""
        kept, reading = self._reading(key)
        if reading is None:
            return Seen(kept.value, kept.at, kept.problem)
        await asyncio.wait([asyncio.wrap_future(reading)], timeout=self._patience_s)
        if reading.done():
            return Seen(kept.value, kept.at, kept.problem)
        return Seen(kept.value, kept.at, f"{self.name} has not answered within {self._patience_s:g} s", slow=True)

    def forget(self, key: str = "") -> None:
        """Read anew when it is next asked for: something was just changed."""
        with self._lock:
            if key in self._kept:
                self._kept[key].ended_at_s = float("-inf")

    def _reading(self, key: str) -> tuple[_Kept[Value], "Future[None] | None"]:
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            if kept.under_way is None and self._clock() - kept.ended_at_s >= self._fresh_s:
                kept.under_way = Future()
                # Not a pool: its threads would be waited for at the end of the process, however long one hangs.
                threading.Thread(
                    target=self._fill, args=(key, kept, kept.under_way), name=f"baton-{self.name}", daemon=True
                ).start()
            return kept, kept.under_way

    def _fill(self, key: str, kept: _Kept[Value], reading: "Future[None]") -> None:
        try:
            kept.value, kept.at, kept.problem = self._read(key), datetime.now(UTC), None
        except BatonError as error:
            kept.problem = str(error)
        except Exception as error:  # of a library that nobody foresaw; the page stays up, and the log has it all
            log.exception("page.reading_failed", what=self.name)
            kept.problem = f"{self.name}: {type(error).__name__}; the API server's log says more"
        finally:
            with self._lock:
                kept.ended_at_s, kept.under_way = self._clock(), None
            reading.set_result(None)
