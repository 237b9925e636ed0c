"""What a process has in hand, which is bounded: requests, their bytes and their records.

The event loop alone uses it.
"""

import msgspec

from scoring.api.problems import Kind, Problem


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much there may be."""

    requests: int = 256
    records: int = 16_384
    size_bytes: int = 32 * 2**20


class Hand:
    """Counts what was taken and is not answered yet."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = self.records = self.size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """One more request, of so many bytes.

        Raises:
            Problem: there is no room for it.
        """
        limits = self.limits
        if self.requests >= limits.requests:
            raise _full(f"{self.requests} requests", "requests")
        if self.requests and self.size_bytes + size_bytes > limits.size_bytes:
            raise _full(f"{self.size_bytes} bytes of requests", "bytes")
        self.requests += 1
        self.size_bytes += size_bytes

    def take_records(self, count: int) -> None:
        """So many records of a request that was taken.

        Raises:
            Problem: there is no room for them.
        """
        if self.records and self.records + count > self.limits.records:
            raise _full(f"{self.records} records", "records")
        self.records += count

    def answered(self, size_bytes: int) -> None:
        """A request that was taken has its answer."""
        self.requests -= 1
        self.size_bytes -= size_bytes

    def answered_records(self, count: int) -> None:
        """Records that were taken have theirs."""
        self.records -= count


def _full(what: str, limit: str) -> Problem:
    sentence = f"{what} are in hand, and BATON_API_{limit.upper()} allows no more; ask again, or ask another process"
    return Problem(Kind.QUEUE_FULL, sentence, limit=limit)
