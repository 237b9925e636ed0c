"""How fast May is replayed, so that the new version takes over in mid-stream."""

from collections.abc import Callable
from dataclasses import dataclass

from local.replay import Pace, Position


@dataclass(frozen=True, slots=True)
class HandoverPace:
    """Slow and steady while the new version is being trained; faster once it scores; fast when nothing waits any more.

    However long the training takes, the stream neither stops nor runs dry before the takeover: once more than
    ``half`` of the records are gone the pace falls with what is left, down to ``least_per_s``.

    Attributes:
        waiting_per_s: records per second until the takeover.
        after_per_s: records per second from then on, while the demonstration shows other things.
        last_per_s: records per second for what is left when it has shown them.
        half: share of the records that may go out at ``waiting_per_s``.
        limit: share of the records that the pace before the takeover approaches.
        ease_s: the pace is at most what is left (until ``limit``, until the end) divided by this.
    """

    waiting_per_s: float = 250.0
    after_per_s: float = 450.0
    last_per_s: float = 2000.0
    half: float = 0.5
    limit: float = 0.8
    ease_s: float = 25.0
    least_per_s: float = 20.0

    def records_per_s(self, position: Position, *, taken_over: bool, released: bool) -> float:
        """The pace at ``position``."""
        if released:
            return self.last_per_s
        if taken_over:
            return self._easing(self.after_per_s, position.total - position.sent)
        if position.sent <= self.half * position.total:
            return self.waiting_per_s
        return self._easing(self.waiting_per_s, self.limit * position.total - position.sent)

    def _easing(self, records_per_s: float, left: float) -> float:
        return min(records_per_s, max(self.least_per_s, left / self.ease_s))

    def until(self, taken_over: Callable[[], bool], released: Callable[[], bool]) -> Pace:
        """The pace as a function of the position; both conditions are asked again and again."""
        return lambda position: self.records_per_s(position, taken_over=taken_over(), released=released())
