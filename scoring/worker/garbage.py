"""Python's cyclic garbage, collected between micro-batches instead of within them.

The interpreter looks for cycles after so many new objects, which a micro-batch makes thousands of and none in a cycle:
a fifth of the hot thread's time went there. What an exception or a bundle leaves behind is still found, by a look at
the young objects every second and at all of them every so often, when there is nothing to score if possible. What was
there before the first record is never looked at again.
"""

import gc
import time
from collections.abc import Callable

YOUNG_EVERY_S = 1.0
ALL_EVERY_S = 60.0
# Under a load that never pauses.
ALL_AT_LAST_S = 600.0


class Garbage:
    """Takes over from the interpreter between ``begin`` and ``end``; the hot thread calls everything here."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._young_at_s = self._all_at_s = clock_s()

    def begin(self) -> None:
        """From now on nothing is collected by itself."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def look(self, *, idle: bool) -> None:
        """Collect what is due; ``idle`` where there is nothing to score just now."""
        now_s = self._clock_s()
        if now_s - self._all_at_s >= (ALL_EVERY_S if idle else ALL_AT_LAST_S):
            gc.collect()
            self._all_at_s = self._young_at_s = now_s
        elif now_s - self._young_at_s >= YOUNG_EVERY_S:
            gc.collect(1)
            self._young_at_s = now_s

    def end(self) -> None:
        """Give it back to the interpreter."""
        gc.enable()
        gc.unfreeze()
