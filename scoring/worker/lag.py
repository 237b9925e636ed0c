"""How far a worker is behind, in records and in seconds.

In seconds a partition is behind by the age of the last record that was scored, or by the time since it was last known
to be scored to its end, whichever is less: after a quiet hour one new record is not an hour late. Where neither is
known it is the time since the partition came here, which is the least that it can be.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from confluent_kafka import Message

from scoring.worker.metrics import timestamp_ms
from scoring.worker.partitions import Partition, Place


class Lag(msgspec.Struct, frozen=True):
    """How far one partition is behind; None where that is not known."""

    records: int | None = None
    seconds: float | None = None


class _Known(msgspec.Struct):
    """What is known of a partition, across aborts, until it is revoked."""

    came_at_s: float
    ended_at_s: float | None = None
    newest_ms: int | None = None


class Lags:
    """Follows the partitions that are assigned; the hot thread calls everything here.

    Args:
        clock_s: monotonic.
        now_s: seconds since 1970, to compare with the timestamps of records.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, now_s: Callable[[], float] = time.time) -> None:
        self._clock_s = clock_s
        self._now_s = now_s
        self._known: dict[Place, _Known] = {}
        self._due = False

    def scored(self, by_topic: Mapping[str, Sequence[Message]], places: Iterable[Place]) -> None:
        """Note how new the last records of a micro-batch are; looks only once after each ``measure``."""
        if not self._due:
            return
        self._due = False
        unseen = set(places)
        for topic, messages in by_topic.items():
            for message in reversed(messages):
                place = (topic, message.partition() or 0)
                if place in unseen:
                    unseen.discard(place)
                    if place in self._known:
                        self._known[place].newest_ms = timestamp_ms(message)
                if not unseen:
                    return

    def measure(self, partitions: Iterable[Partition], end_of: Callable[[Partition], int | None]) -> dict[Place, Lag]:
        """How far each of the assigned partitions is behind.

        Args:
            end_of: the offset behind a partition's last record; None where that is not known.
        """
        now_s, found = self._clock_s(), {}
        known = {}
        for partition in partitions:
            place = (partition.topic, partition.partition)
            known[place] = state = self._known.get(place) or _Known(now_s)
            end, reached = end_of(partition), partition.next_offset
            records = None if end is None or reached is None else max(0, end - reached)
            if records == 0:
                state.ended_at_s = now_s
            found[place] = Lag(records, None if records is None else self._seconds(state, records, now_s))
        self._known = known  # nothing is kept of a partition that went
        self._due = True
        return found

    def _seconds(self, state: _Known, records: int, now_s: float) -> float:
        if records == 0:
            return 0.0
        bounds = []
        if state.ended_at_s is not None:
            bounds.append(now_s - state.ended_at_s)
        if state.newest_ms is not None:
            bounds.append(self._now_s() - state.newest_ms / 1_000)
        return max(0.0, min(bounds, default=now_s - state.came_at_s))
