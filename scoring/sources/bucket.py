"""A limit on the rate of requests: a token bucket that holds one token, so that requests keep their distance."""

import time
from collections.abc import Callable

Sleep = Callable[[float], None]


class Bucket:
    """Lets one request through every ``1 / per_s`` seconds.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(
        self, per_s: float, *, clock_s: Callable[[], float] = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._distance_s = 1.0 / per_s
        self._clock_s = clock_s
        self._sleep = sleep
        self._next_s = clock_s()

    def take(self) -> None:
        """Waits until the next request may be sent."""
        wait_s = self._next_s - self._clock_s()
        if wait_s > 0:
            self._sleep(wait_s)
        self._next_s = max(self._next_s, self._clock_s()) + self._distance_s
