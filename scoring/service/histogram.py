"""Counts of observations by upper bound."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts of observations by upper bound (inclusive), as Prometheus has them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, the last of which is ``+Inf``, and the sum."""
        total, buckets = 0, []
        for bound, count in zip((*map(repr, self._bounds), "+Inf"), self._counts.copy(), strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets, self._sum

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)
