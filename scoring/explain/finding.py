"""Finds the outcome of an input record in Kafka, without reading a topic from its beginning to its end.

Predictions and dead letters stand in the partition of their inputs and in their order, so one is found by halving.
Where a delivery of at least once has scored some records again, the order steps back, and goes on from there through
all the records that follow: halving then finds one of the outcomes of a record.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.prediction import Prediction, decode_prediction
from scoring.letters.letter import Letter, letter_of
from scoring.reading import Reader, Stored

_SCAN_OFFSETS = 200

OriginOf = Callable[[Stored], Position | None]


class Standing(StrEnum):
    """Where a record without an outcome stands: before the oldest of its partition, behind the newest, or between them.

    ALONE where its partition has no outcome at all.
    """

    BEFORE = "before"
    BETWEEN = "between"
    BEHIND = "behind"
    ALONE = "alone"


class Outcomes:
    """The outcomes of one model's records, in Kafka.

    Args:
        predictions, letters: of the model's two topics.
        input_id: of the input topic that there is now.
    """

    def __init__(self, predictions: Reader, letters: Reader, input_id: str) -> None:
        self._predictions = predictions
        self._letters = letters
        self._input_id = input_id

    def prediction_of(self, place: Position) -> tuple[Position, Prediction] | None:
        """The prediction of the record at ``place`` of the input topic, and its own place."""
        found = find(self._predictions, place, origin_of_prediction, self._input_id)
        return None if found is None else self.prediction_in(found)

    def letter_of(self, place: Position) -> Letter | None:
        """The dead letter of the record at ``place``."""
        found = find(self._letters, place, origin_of_letter, self._input_id)
        return None if found is None else letter_of(found, self._letters.topic, self._letters.topic_id)

    def prediction_at(self, partition: int, offset: int) -> tuple[Position, Prediction] | None:
        """The prediction at a place of its own topic.

        Raises:
            msgspec.MsgspecError: what is there is no prediction.
        """
        found = self._predictions.at(partition, offset)
        return None if found is None else self.prediction_in(found)

    def letter_at(self, partition: int, offset: int) -> Letter | None:
        """The dead letter at a place of its own topic.

        Raises:
            ValueError: what is there is none.
        """
        found = self._letters.at(partition, offset)
        return None if found is None else letter_of(found, self._letters.topic, self._letters.topic_id)

    def why_nothing(self, topic: str, partition: int, offset: int) -> str:
        """Why there is no outcome at a place of one of the two topics."""
        reader = self._predictions if topic == self._predictions.topic else self._letters
        return reader.why_nothing(partition, offset)

    def why_gone(self, place: Position) -> str:
        """Why an outcome that stood at ``place`` stands there no more."""
        reader = self._predictions if place.topic == self._predictions.topic else self._letters
        if place.topic_id != reader.topic_id:
            return f"{place.topic} was deleted and made again since, or is another topic"
        return reader.why_nothing(place.partition, place.offset)

    def prediction_again(self, place: Position) -> Prediction | None:
        """What stands now where a prediction stood; None where that is gone, or is none."""
        if (place.topic, place.topic_id) != (self._predictions.topic, self._predictions.topic_id):
            return None
        found = self._predictions.at(place.partition, place.offset)
        try:
            return None if found is None else decode_prediction(found.value or b"")
        except msgspec.MsgspecError:
            return None

    def earlier_topics(self, place: Position) -> set[str]:
        """Ids of earlier input topics of the same name, of which the partition still has outcomes."""
        found = set()
        for reader, origin_of in ((self._predictions, origin_of_prediction), (self._letters, origin_of_letter)):
            if place.partition < reader.partitions:
                oldest = _first(reader, place, *reader.bounds(place.partition), origin_of)
                found |= set() if oldest is None else {oldest[1].topic_id}
        return found - {place.topic_id}

    def standing(self, place: Position) -> Standing:
        """Where a record without an outcome stands among those that have one."""
        found = {
            standing_in(self._predictions, place, origin_of_prediction),
            standing_in(self._letters, place, origin_of_letter),
        }
        order = (Standing.BETWEEN, Standing.BEHIND, Standing.BEFORE)
        return next((standing for standing in order if standing in found), Standing.ALONE)

    def prediction_in(self, stored: Stored) -> tuple[Position, Prediction]:
        """The prediction in a record, and its place."""
        place = Position(
            topic=self._predictions.topic,
            topic_id=self._predictions.topic_id,
            partition=stored.partition,
            offset=stored.offset,
        )
        return place, decode_prediction(stored.value or b"")


def origin_of_prediction(stored: Stored) -> Position | None:
    """The input that a prediction names; None where the record is no prediction."""
    try:
        return decode_prediction(stored.value or b"").input
    except msgspec.MsgspecError:
        return None


def origin_of_letter(stored: Stored) -> Position | None:
    """The input that a dead letter names; None where the record is no dead letter."""
    try:
        return letter_of(stored, "", "").told.origin
    except ValueError:
        return None


def find(reader: Reader, wanted: Position, origin_of: OriginOf, input_id: str) -> Stored | None:
    """The outcome of the record at ``wanted``.

    Args:
        input_id: of the input topic that there is now; ``wanted`` may be a place of an earlier one.
    """
    if wanted.partition >= reader.partitions:
        return None
    low, high = reader.bounds(wanted.partition)
    while high - low > _SCAN_OFFSETS:
        middle = (low + high) // 2
        found = _first(reader, wanted, middle, high, origin_of)
        if found is None:
            high = middle
            continue
        stored, origin = found
        if origin == wanted:
            return stored
        if _is_before(origin, wanted, input_id):
            low = stored.offset + 1
        else:
            high = middle
    around = reader.stretch({wanted.partition: (low, high)})
    return next((stored for stored in around if origin_of(stored) == wanted), None)


def standing_in(reader: Reader, wanted: Position, origin_of: OriginOf) -> Standing | None:
    """Where a record stands among the outcomes of its partition; None where there are none."""
    if wanted.partition >= reader.partitions:
        return None
    low, high = reader.bounds(wanted.partition)
    oldest = _first(reader, wanted, low, high, origin_of)
    if oldest is None:
        return None
    if not _is_before(oldest[1], wanted, wanted.topic_id):
        return Standing.BEFORE
    newest = oldest[1]
    for stored in reader.stretch({wanted.partition: (max(low, high - _SCAN_OFFSETS), high)}):
        origin = origin_of(stored)
        newest = origin if origin is not None and origin.topic == wanted.topic else newest
    return Standing.BEHIND if _is_before(newest, wanted, wanted.topic_id) else Standing.BETWEEN


def _first(
    reader: Reader, wanted: Position, start: int, end: int, origin_of: OriginOf
) -> tuple[Stored, Position] | None:
    """The first outcome of a stretch, with its origin; what is none, or another model's, is passed over."""
    for stored in reader.stretch({wanted.partition: (start, end)}):
        origin = origin_of(stored)
        if origin is not None and origin.topic == wanted.topic:
            return stored, origin
    return None


def _is_before(origin: Position, wanted: Position, input_id: str) -> bool:
    """Of a topic that was deleted and made again, every outcome of the earlier one comes first."""
    if origin.topic_id == wanted.topic_id:
        return origin.offset < wanted.offset
    return origin.topic_id != input_id
