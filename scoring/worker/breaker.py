"""The breaker: when nearly everything becomes a dead letter, stop taking records instead of draining the topic (B.9).

A producer that writes another format, or a model that cannot score, would otherwise turn all of a topic into dead
letters within minutes. While a breaker is open its topic's records stay where they are; now and then one micro-batch is
scored as a probe, and only one that is mostly good is committed and closes the breaker.
"""

from collections import deque

import msgspec

# Fewer records prove nothing: a short run of bad ones is ordinary.
MINIMUM_RECORDS = 100


class Limits(msgspec.Struct, frozen=True):
    """When a breaker opens.

    Attributes:
        share: of dead letters among the records of the window, above which it opens; 1 never does.
        window_records: how many of the last records count.
    """

    share: float = 0.5
    window_records: int = 1_000


class Breaker:
    """Watches one topic."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._window: deque[tuple[int, int]] = deque()
        self._records = self._letters = 0  # of the window
        self.probes = 0
        """How many probes failed since it opened; 0 while it is closed."""

    def admits(self, records: int, letters: int) -> bool:
        """Whether a micro-batch of ``records``, of which ``letters`` became dead letters, may be committed.

        While the breaker is open the micro-batch is its probe, and counts for itself.
        """
        if self.probes:
            if self._too_many(records, letters):
                self.probes += 1
                return False
            self.probes = 0
            self._window.clear()
            self._records = self._letters = 0
        self._count(records, letters)
        while self._records - self._window[0][0] >= self._limits.window_records:
            self._forget(self._window.popleft())
        if self._records < MINIMUM_RECORDS or not self._too_many(self._records, self._letters):
            return True
        self._forget(self._window.pop())  # it goes back to the topic
        self.probes = 1
        return False

    def _count(self, records: int, letters: int) -> None:
        self._window.append((records, letters))
        self._records += records
        self._letters += letters

    def _forget(self, batch: tuple[int, int]) -> None:
        self._records -= batch[0]
        self._letters -= batch[1]

    def _too_many(self, records: int, letters: int) -> bool:
        return letters > self._limits.share * records
