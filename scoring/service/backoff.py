"""How long to wait before the next try."""

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Waits that double from ``first_s`` to ``longest_s``."""

    first_s: float = 0.5
    longest_s: float = 30.0

    def wait_s(self, attempt: int) -> float:
        """How long to wait after attempt number ``attempt`` (1, 2, …)."""
        return float(min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30)))
