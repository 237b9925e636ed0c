"""Finds partitions that the group has left to nobody, and has this worker ask for a new assignment.

A static member that dies while a cooperative rebalance takes partitions from it is, when it comes back, given what it
was to keep, without another rebalance. What it was to give up then belongs to nobody: the second rebalance, which would
hand it on, was the dead process's to begin (KIP-345 with KIP-429; seen with Kafka 4.2 and librdkafka 2.16). Nothing in
the group ever notices. So a thread compares the group's assignment with the topics' partitions, and one of the members
unsubscribes and subscribes again, which begins a rebalance.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping

import msgspec
import structlog

from scoring.contract.errors import Unavailable
from scoring.service.backoff import Backoff
from scoring.worker.partitions import Place

INTERVAL_S = 5.0
# Where asking again did not help (the client has yet to hear of new partitions, say), it is done ever more rarely.
_WAITS = Backoff(first_s=15.0, longest_s=600.0)
log = structlog.get_logger()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer group as its coordinator describes it.

    Attributes:
        stable: no rebalance is going on.
        members: what each member was given, by its ``client.id``.
        partitions: how many partitions each of the topics has that were asked about.
    """

    stable: bool
    members: Mapping[str, frozenset[Place]]
    partitions: Mapping[str, int]

    @property
    def orphans(self) -> frozenset[Place]:
        """The partitions that no member was given; none while that may be about to change."""
        if not self.stable or not self.members:
            return frozenset()
        every = {(topic, number) for topic, count in self.partitions.items() for number in range(count)}
        return frozenset(every).difference(*self.members.values())

    @property
    def volunteer(self) -> str:
        """The member that asks for a new assignment: one that has the least to put down."""
        return min(self.members, key=lambda member: (len(self.members[member]), member))


class Orphans:
    """Runs the thread.

    Args:
        ask: describes the group, and some topics; raises Unavailable.
        member: this worker's ``client.id``.

    Attributes:
        topics: those that this worker reads; set by the hot thread.
    """

    def __init__(
        self,
        ask: Callable[[Collection[str]], Group],
        member: str,
        interval_s: float = INTERVAL_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._member = member
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orphans", daemon=True)
        self._before: frozenset[Place] = frozenset()
        self._asked = 0
        self._not_before_s = 0.0
        self._due: frozenset[Place] = frozenset()
        self.topics: Collection[str] = ()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it may be in a call that takes its time, and nobody waits for that."""
        self._stop.set()

    def take(self) -> frozenset[Place]:
        """The partitions for which this worker is to ask for a new assignment, once; usually none."""
        due, self._due = self._due, frozenset()
        return due

    def look(self) -> None:
        """Compare once. What is nobody's twice in a row is an orphan: between two looks a rebalance may have ended."""
        topics = self.topics
        try:
            group = self._ask(topics) if topics else None
        except Unavailable as error:  # while the coordinator cannot be asked, nobody can be given anything either
            log.debug("group.unknown", error=str(error))
            return
        found = group.orphans if group is not None else frozenset()
        lasting, self._before = found & self._before, found
        if group is None or (group.stable and not found):
            self._asked = 0
        elif lasting and group.volunteer == self._member and self._clock_s() >= self._not_before_s:
            self._asked += 1
            self._not_before_s = self._clock_s() + _WAITS.wait_s(self._asked)
            self._due = lasting

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.look()
