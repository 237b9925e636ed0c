"""Finds dead letters: those that a selection takes, in the order of their partitions, or the newest."""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from scoring.contract.dead_letter import Reason
from scoring.contract.replay import note_key
from scoring.letters.letter import Letter, letter_of
from scoring.reading import Reader

# Between records stand the markers of transactions, and what was aborted.
_MARKERS = 4
_LEAST_OFFSETS = 100
_WIDER = 8

Place = tuple[int, int]
Bounds = Mapping[int, tuple[int, int]]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; what is empty or None takes all.

    Attributes:
        since: the earliest time that a letter was made.
        places: partitions and offsets of the dead-letter topic.
        put_back: keys of the notes (``replay.note_key``) of letters that are left out, for they were put back.
    """

    reasons: frozenset[Reason] = frozenset()
    since: datetime | None = None
    partitions: frozenset[int] = frozenset()
    places: frozenset[Place] = frozenset()
    put_back: frozenset[bytes] = frozenset()

    def takes(self, letter: Letter) -> bool:
        """Whether it is one of them."""
        place = letter.place
        return (
            (not self.reasons or letter.told.reason in self.reasons)
            and (self.since is None or letter.told.at >= self.since)
            and (not self.partitions or place.partition in self.partitions)
            and (not self.places or (place.partition, place.offset) in self.places)
            and (not self.put_back or note_key(letter.told.model, place) not in self.put_back)
        )


class Letters:
    """The dead letters of a topic as they are when this is made; later ones are left out.

    Args:
        reader: of the dead-letter topic, which other models may share.
        model: whose dead letters these are; None takes every model's.

    Attributes:
        strangers: records met so far that are no dead letters.
        nothing_at: places that were asked for and at which ``all`` found no dead letter of the model, and why.
    """

    def __init__(self, reader: Reader, selection: Selection, model: str | None = None) -> None:
        self._reader = reader
        self._model = model
        self._selection = selection
        self.bounds: Bounds = {
            partition: self._bounds(partition)
            for partition in range(reader.partitions)
            if not selection.partitions or partition in selection.partitions
        }
        self.strangers = 0
        self.nothing_at: dict[Place, str] = {}

    @property
    def offsets(self) -> int:
        """How many offsets there are to look at; markers of transactions take some."""
        return sum(max(0, end - start) for start, end in self.bounds.values())

    def all(self) -> Iterator[Letter]:
        """Those that the selection takes, a partition's in their order."""
        if not self._selection.places:
            yield from self._within(self.bounds)
            return
        self.nothing_at.clear()
        for place in sorted(self._selection.places):
            letter = self._at(place)
            if letter is not None and self._selection.takes(letter):
                yield letter

    def _at(self, place: Place) -> Letter | None:
        """The model's dead letter at a place, whatever else the selection asks; otherwise notes why there is none."""
        stored = self._reader.at(*place)
        if stored is None:
            self.nothing_at[place] = self._reader.why_nothing(*place)
            return None
        try:
            letter = letter_of(stored, self._reader.topic, self._reader.topic_id)
        except ValueError as error:
            self.nothing_at[place] = str(error)
            return None
        if self._model in {None, letter.told.model}:
            return letter
        self.nothing_at[place] = f"this is a dead letter of {letter.told.model}, not of {self._model}"
        return None

    def newest(self, count: int) -> list[Letter]:
        """The newest of them, newest first and without content; reads further back only while there are too few."""
        found: dict[int, list[Letter]] = {partition: [] for partition in self.bounds}
        ends = {partition: high for partition, (_, high) in self.bounds.items()}
        size = max(_LEAST_OFFSETS, _MARKERS * count)
        while wanted := self._before(ends, found, size, count):
            window: dict[int, deque[Letter]] = {partition: deque(maxlen=count) for partition in wanted}
            for letter in self._within(wanted):
                window[letter.place.partition].append(letter.without_content())
            for partition, (start, _) in wanted.items():
                found[partition] = [*window[partition], *found[partition]][-count:]
                ends[partition] = start
            size *= _WIDER
        every = [letter for letters in found.values() for letter in letters]
        return sorted(every, key=lambda letter: (letter.told.at, letter.place.offset), reverse=True)[:count]

    def _before(self, ends: Mapping[int, int], found: Mapping[int, list[Letter]], size: int, count: int) -> Bounds:
        """The stretch before what was read, of the partitions that have more and of which too few were found."""
        lows = {partition: low for partition, (low, _) in self.bounds.items()}
        return {
            partition: (max(lows[partition], end - size), end)
            for partition, end in ends.items()
            if end > lows[partition] and len(found[partition]) < count
        }

    def _bounds(self, partition: int) -> tuple[int, int]:
        low, high = self._reader.bounds(partition)
        since = self._selection.since
        # Its record was written after the letter was made, so none before the first such record can be one of them.
        return (low if since is None else min(max(low, self._reader.offset_at(partition, since)), high)), high

    def _within(self, bounds: Bounds) -> Iterator[Letter]:
        for stored in self._reader.stretch(bounds):
            try:
                letter = letter_of(stored, self._reader.topic, self._reader.topic_id)
            except ValueError:
                self.strangers += 1
                continue
            if self._model in {None, letter.told.model} and self._selection.takes(letter):
                yield letter
