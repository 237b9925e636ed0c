"""What starts a worker, and looks after it."""

from collections.abc import Callable

import msgspec


class Surrounding(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told about it.

    Attributes:
        say: called every second while the hot thread comes round.
        restarts: how often this slot was started before.
        pinned: whether the worker keeps to a core of its own, where there is one.
    """

    say: Callable[[], None] = lambda: None
    restarts: int = 0
    pinned: bool = False
