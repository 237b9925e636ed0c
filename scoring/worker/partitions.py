"""What is assigned to this worker, where each partition stands, and why it is paused (protocol A.12, B.2, B.6).

Plain state without I/O: the loop reads it and calls the consumer. A partition is *admitted* once its committed offset
and metadata were read and a bundle is live on at least that sequence; until then it is paused, and records that slip
through are dropped, because admission seeks to the committed offset.
"""

from collections.abc import Iterable
from enum import Enum

import msgspec

from scoring.contract.progress import Progress

Place = tuple[str, int]  # topic, partition


class Pause(Enum):
    """Why an assigned partition is not being read."""

    UNREAD = "its committed offset has yet to be read"
    HELD = "it needs a newer sequence than is live here"
    OTHER_LEDGER = "its offset was committed under another ledger"
    NO_MODEL = "no bundle of its model is live here"
    LOOKUP = "its looked-up values cannot be read now"
    BREAKER = "nearly all of its records would become dead letters; mend their producer, or promote a model that fits"
    APART = "its transactions fail again and again, so it is tried apart from the other models; see the log"
    NO_OUTPUT = "the topics of predictions or dead letters have no such partition; add it there too"

    @property
    def code(self) -> str:
        """Its stable name, for metrics and machines."""
        return self.name.lower().replace("_", "-")


class Partition(msgspec.Struct):
    """One assigned partition.

    Attributes:
        next_offset: the next one to score; None until admitted.
        pauses: why it is paused; empty when it is admitted.
        needs: the sequence that its committed metadata names.
        not_before_s: when it may be admitted again at the earliest, on the monotonic clock.
        unreadable: how often in a row its committed offset could not be read.
        kept: it was read here before the last abort: no other worker's transaction can be in the way of its offsets.
        gone: records that the topic no longer held when they were due, so that nobody can score them.
        end: the offset behind its last record when that was last asked for; None before.
    """

    topic: str
    partition: int
    topic_id: str | None = None
    next_offset: int | None = None
    needs: Progress = Progress()
    not_before_s: float = 0.0
    unreadable: int = 0
    kept: bool = False
    gone: int = 0
    end: int | None = None
    pauses: set[Pause] = msgspec.field(default_factory=lambda: {Pause.UNREAD})

    @property
    def admitted(self) -> bool:
        """Whether its records are being scored."""
        return not self.pauses

    @property
    def placed(self) -> bool:
        """Whether the next offset that the live sequence scores is known."""
        return not self.pauses - {Pause.LOOKUP, Pause.BREAKER}


class Partitions:
    """The table of assigned partitions. Nothing is kept of a partition that was revoked.

    Attributes:
        rebalanced: partitions came or went since everything was last read anew.
        joined: the group has given this worker something, be it nothing.
        member: who this worker was to the group when that was told last. The group calls it by another name once it put
            it out, for having been silent too long, and let it in again: somebody else may have its partitions then.
        outlived: it was told of partitions under another name, while it still had some of the name before.
    """

    def __init__(self) -> None:
        self._table: dict[Place, Partition] = {}
        self.rebalanced = False
        self.joined = False
        self.member: str | None = None
        self.outlived = False

    def assign(self, places: Iterable[Place]) -> None:
        """Partitions came; each starts paused."""
        self.rebalanced = self.joined = True
        for topic, partition in places:
            self._table[topic, partition] = Partition(topic, partition)

    def revoke(self, places: Iterable[Place]) -> None:
        """Partitions went, with everything that was known of them."""
        self.rebalanced = True
        for place in places:
            self._table.pop(place, None)

    def met_as(self, member: str | None) -> None:
        """The group has told of what came, which is not in the table yet, or of what went, which no longer is."""
        self.outlived |= member != self.member and bool(self._table)
        self.member = member

    def belong_to(self, member: str | None) -> bool:
        """Whether the group gave what is here to the member of this name."""
        return member == self.member or not self._table

    def reset(self) -> None:
        """Forget how far everything was read: all partitions wait for admission again."""
        self.rebalanced = False
        for place, known in self._table.items():
            self._table[place] = Partition(*place, kept=known.kept or known.next_offset is not None)

    def get(self, topic: str, partition: int) -> Partition | None:
        """The partition, where it is assigned."""
        return self._table.get((topic, partition))

    def all(self) -> list[Partition]:
        """Every assigned partition, in order of topic and number."""
        return [self._table[place] for place in sorted(self._table)]

    def of_topic(self, topic: str) -> list[Partition]:
        """The assigned partitions of a topic, in order."""
        return [partition for partition in self.all() if partition.topic == topic]

    def waiting(self) -> list[Partition]:
        """Those that are not admitted."""
        return [partition for partition in self.all() if partition.pauses]


def pause_for(needs: Progress, live: Progress | None) -> Pause | None:
    """Whether a partition whose metadata says ``needs`` must wait, given what is live here (protocol A.12)."""
    if live is None:
        return Pause.NO_MODEL
    if needs.ledger is not None and needs.ledger != live.ledger:
        return Pause.OTHER_LEDGER
    return Pause.HELD if needs.sequence > live.sequence else None
