"""How long a read may take in all."""

import time
from collections.abc import Callable

from scoring.contract.errors import Unavailable


class Deadline:
    """The end of a read's time.

    Args:
        what: names the source in messages.
        clock_s: monotonic seconds.
    """

    def __init__(self, what: str, limit_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._limit_s = limit_s
        self._clock_s = clock_s
        self._end_s = clock_s() + limit_s

    @property
    def left_s(self) -> float:
        """How many seconds are left; negative when it is over."""
        return self._end_s - self._clock_s()

    def check(self) -> None:
        """Go on only within the time.

        Raises:
            Unavailable: it is over.
        """
        if self.left_s <= 0:
            raise Unavailable(
                f"{self._what}: not read within its {self._limit_s:g} s; retry later, or raise its timeout"
            )
