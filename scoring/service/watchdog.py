"""Ends the process when the hot thread stops coming round.

A call of the client can hang whatever its timeout says: librdkafka 2.16 waits for ever for a coordinator that left the
cluster's metadata for a moment, as a broker does that starts again. Killing a worker is always safe.
"""

import os
import threading
import time
from collections.abc import Callable

import structlog

from scoring.service.ending import EXIT_AGAIN

# After this the group has given up on a consumer that does not poll (max.poll.interval.ms), so nothing is lost by it.
LIMIT_S = 300.0
LOOK_EVERY_S = 1.0
log = structlog.get_logger()


class Watchdog:
    """Runs the thread that looks after the hot one.

    Args:
        event: what is logged before the end: ``worker.must_exit``.
        end: ends the process at once, with an exit status.
        say: called at each look that finds the hot thread well.
    """

    def __init__(
        self,
        *,
        event: str,
        limit_s: float = LIMIT_S,
        clock_s: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
        say: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit_s = limit_s
        self._event = event
        self._say = say
        self._clock_s = clock_s
        self._end = end
        self._beat_s = clock_s()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._beat_s = self._clock_s()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def beat(self) -> None:
        """The hot thread comes round, or waits knowingly."""
        self._beat_s = self._clock_s()

    def silent_s(self) -> float:
        """How long the hot thread was not heard of, in seconds."""
        return self._clock_s() - self._beat_s

    def look(self) -> None:
        """End the process if the hot thread was not heard of for too long; else say that all is well."""
        silent_s = self.silent_s()
        if silent_s <= self._limit_s:
            self._say()
        else:
            log.critical(self._event, error=f"the hot thread did not come round for {silent_s:.0f} s")
            self._end(EXIT_AGAIN)

    def _run(self) -> None:
        while not self._stopped.wait(min(LOOK_EVERY_S, self._limit_s / 20)):
            self.look()
