"""How far a backfill is, in words. Pure: time is an argument."""

import msgspec

from scoring.backfill.store import Kept


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is.

    Attributes:
        chunks: of the whole plan.
        found: those that were done before this run.
        done: those that this run did.
        rows, failures: of those that this run did.
        began_s: when this run began, in seconds of the clock that is asked later.
    """

    chunks: int
    found: int = 0
    done: int = 0
    rows: int = 0
    failures: int = 0
    began_s: float = 0.0

    def with_chunk(self, kept: Kept) -> "Progress":
        """After one more chunk."""
        return msgspec.structs.replace(
            self, done=self.done + 1, rows=self.rows + kept.rows, failures=self.failures + kept.failures
        )

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return (self.found + self.done) / self.chunks if self.chunks else 1.0

    def line(self, now_s: float) -> str:
        """A line for people: chunks, records, records a second, and the time left."""
        took_s = max(now_s - self.began_s, 1e-9)
        failed = f", {self.failures:,} not scored" if self.failures else ""
        rate = f", {self.rows / took_s:,.0f} records/s" if self.done else ""
        now = " in this run" if self.found else ""
        far = f"{self.found + self.done} of {counted(self.chunks, 'chunk')}"
        return f"{far}, {counted(self.rows, 'record')}{now}{failed}{rate}{self._left(took_s)}"

    def _left(self, took_s: float) -> str:
        left = self.chunks - self.found - self.done
        return f", {duration(left * took_s / self.done)} left" if self.done and left else ""


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 chunk``, ``2,000 chunks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bar(share: float, width: int) -> str:
    """A bar of ``width`` characters."""
    full = int(share * width)
    return "█" * full + "░" * (width - full)


def duration(seconds: float) -> str:
    """A length of time: ``1:02:03``, ``4:05``, ``12 s``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole} s"
