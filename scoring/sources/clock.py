"""Time and chance as arguments of what waits, tries again and keeps records."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """Time and chance.

    Attributes:
        s: monotonic seconds.
        now: an aware datetime.
        jitter: between 0 and 1.
    """

    s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random


REAL = Clock()
