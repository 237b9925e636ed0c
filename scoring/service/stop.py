"""Being told to stop."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_PATIENCE_S = 30.0


class Stop:
    """Whether, and since when, a service was told to stop."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._since_s: float | None = None

    def request(self) -> None:
        """Tell it to stop; the first time counts. Takes no lock, so it is safe in a signal handler."""
        if self._since_s is None:
            self._since_s = self._clock_s()

    def requested(self) -> bool:
        """Whether it was told to stop."""
        return self._since_s is not None

    def overdue(self) -> bool:
        """Whether it has been stopping for too long, so that calls that cannot get through are given up."""
        return self._since_s is not None and self._clock_s() - self._since_s > STOP_PATIENCE_S

    def wait(self, seconds: float) -> bool:
        """Wait; true soon after it was told to stop."""
        until_s = self._clock_s() + seconds
        while not self.requested() and self._clock_s() < until_s:
            time.sleep(min(0.1, seconds))
        return self.requested()


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT ask a service to stop after what it has in hand."""
    previous = {number: signal.signal(number, lambda *_: stop.request()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
