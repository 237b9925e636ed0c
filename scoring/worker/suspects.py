"""Finds the model whose records make transactions fail again and again, so that the others need not wait for it.

A micro-batch holds the records of all models in one transaction. Where the broker refuses what one of them writes (a
right that was taken away, a limit that its topic has), the transactions of all would fail for ever. So after a few
failures in a row each topic's records are tried in a transaction of their own; a topic that fails by itself waits, ever
longer, and the others go on together.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from scoring.service.backoff import Backoff

# Fewer failures in a row are the broker's ordinary life.
FAILURES = 3
# A suspicion that nothing has confirmed for so long is dropped: of a topic without records nobody would ever hear.
LAPSE_S = 60.0
_WAITS = Backoff(first_s=1.0, longest_s=10.0)


class Suspects:
    """The topics that are tried by themselves.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._failures: dict[str, int] = {}
        self._until_s: dict[str, float] = {}
        self._since_s: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        lapsed = [topic for topic, since_s in self._since_s.items() if self._clock_s() - since_s > LAPSE_S]
        for topic in lapsed:
            self.passed(topic)
        return bool(self._failures)

    def add(self, topics: Iterable[str]) -> None:
        """One of these makes transactions fail."""
        for topic in topics:
            self._failures.setdefault(topic, 0)
            self._since_s[topic] = self._clock_s()

    def choose(self, topics: Collection[str]) -> str | None:
        """The topic to be tried by itself, of those that have records; None where none of them is suspected."""
        found = [topic for topic in topics if topic in self._failures]
        return min(found, key=self._failures.__getitem__, default=None)

    def failed(self, topic: str) -> float:
        """It failed by itself; returns how long it has to wait, in seconds."""
        self._failures[topic] = self._failures.get(topic, 0) + 1
        wait_s = _WAITS.wait_s(self._failures[topic])
        self._since_s[topic] = self._clock_s()
        self._until_s[topic] = self._since_s[topic] + wait_s
        return wait_s

    def waiting(self) -> Mapping[str, float]:
        """Those that have to wait, and for how long yet, in seconds."""
        now_s = self._clock_s()
        return {topic: until_s - now_s for topic, until_s in self._until_s.items() if until_s > now_s}

    def passed(self, topic: str) -> None:
        """Its records were committed, or nothing was heard of it for long."""
        self._failures.pop(topic, None)
        self._since_s.pop(topic, None)
        self._until_s.pop(topic, None)
