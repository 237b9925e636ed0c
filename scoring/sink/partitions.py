"""What is assigned to this sink, and how far each partition was read. Plain state without I/O.

A partition is *admitted* once the tables said where it goes on; until then it is not read.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from scoring.predictions.writing import Partition as Written

Place = tuple[str, int]  # topic, partition


class Partition(msgspec.Struct):
    """One assigned partition.

    Attributes:
        topic_id: of the topic as it was when the partition was admitted.
        next_offset: what comes next in the tables; None until admitted.
        position: what is taken next; ahead of that while a batch is being written.
        end: the offset behind its last record, as far as that is known.
        read_end: the offset behind the markers of transactions that follow the last record; None where more came since.
        newest_at: the timestamp of the last record in the tables.
        ended_at_s: when it was last known to be in the tables to its end, on the monotonic clock.
        not_before_s: when it may be admitted again at the earliest, on the monotonic clock.
        tries: how often in a row it could not be admitted.
        problem: why it is not admitted, for people.
    """

    topic: str
    number: int
    topic_id: str = ""
    next_offset: int | None = None
    position: int = 0
    end: int | None = None
    read_end: int | None = None
    newest_at: datetime | None = None
    ended_at_s: float | None = None
    not_before_s: float = 0.0
    tries: int = 0
    problem: str | None = None

    @property
    def place(self) -> Place:
        """Topic and number."""
        return self.topic, self.number

    @property
    def written(self) -> Written:
        """The partition as the tables know it."""
        return Written(self.topic_id, self.number, self.topic)

    @property
    def lag(self) -> int | None:
        """Offsets between the tables and the end; None where that is not known."""
        return None if self.end is None or self.next_offset is None else max(0, self.end - self.next_offset)


class Partitions:
    """The table of assigned partitions.

    Attributes:
        joined: the group has given this sink something, be it nothing.
    """

    def __init__(self) -> None:
        self._table: dict[Place, Partition] = {}
        self.joined = False

    def assign(self, places: Iterable[Place]) -> None:
        """These are the partitions now; each starts anew."""
        self.joined = True
        self._table = {place: Partition(*place) for place in places}

    def revoke(self) -> None:
        """All partitions went."""
        self._table = {}

    def reset(self, places: Iterable[Place], not_before_s: float, problem: str | None) -> None:
        """Forget how far these were read: the tables have to say it again."""
        for place in places:
            if place in self._table:
                self._table[place] = Partition(*place, not_before_s=not_before_s, problem=problem)

    def get(self, topic: str, number: int) -> Partition | None:
        """The partition, where it is assigned."""
        return self._table.get((topic, number))

    def all(self) -> list[Partition]:
        """Every assigned partition, in order of topic and number."""
        return [self._table[place] for place in sorted(self._table)]

    def waiting(self) -> list[Partition]:
        """Those that are not admitted."""
        return [partition for partition in self.all() if partition.next_offset is None]
