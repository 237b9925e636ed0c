"""Finds the outcome of an input record in the predictions' tables: at once, and when the topics no longer have it.

The topics are the truth: what a table says is read again where it stands in its topic, as long as it stands there.
"""

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import Reference
from scoring.contract.prediction import Prediction
from scoring.contract.replay import Replayed
from scoring.letters.letter import Letter
from scoring.predictions.reading import Predictions
from scoring.predictions.stored import StoredDeadLetter


class Tables:
    """Outcomes as the predictions' tables keep them, the newest first.

    Every method raises Unavailable when the database cannot be reached.
    """

    def __init__(self, predictions: Predictions) -> None:
        self._predictions = predictions

    def predictions_of(self, place: Position) -> list[tuple[Position, Prediction]]:
        """The predictions of the record at ``place``, with their own places."""
        found = self._predictions.of_input(place.topic_id, place.partition, place.offset)
        return [(each.place, each.prediction) for each in found if each.prediction.input == place]

    def letters_of(self, place: Position) -> list[Letter]:
        """The dead letters of the record at ``place``."""
        found = self._predictions.dead_letters_of_input(place.topic_id, place.partition, place.offset)
        return [_letter(each) for each in found if each.letter.origin == place]

    def prediction_at(self, topic: str, partition: int, offset: int) -> list[tuple[Position, Prediction]]:
        """What stood at a place of the topic of predictions, and of each earlier topic of that name."""
        found = self._predictions.predictions_at(topic, partition, offset)
        return [(each.place, each.prediction) for each in found]

    def letter_at(self, topic: str, partition: int, offset: int) -> list[Letter]:
        """What stood at a place of the topic of dead letters, and of each earlier topic of that name."""
        return [_letter(each) for each in self._predictions.dead_letters_at(topic, partition, offset)]

    def earlier_topics(self, place: Position) -> set[str]:
        """Ids of other topics of the same name whose record at that place has an outcome."""
        asked = place.topic, place.partition, place.offset
        found = {each.prediction.input.topic_id for each in self._predictions.of_input(*asked)}
        found |= {each.letter.origin.topic_id for each in self._predictions.dead_letters_of_input(*asked)}
        return found - {place.topic_id}

    def close(self) -> None:
        """Let go of the connections."""
        self._predictions.close()


def _letter(stored: StoredDeadLetter) -> Letter:
    value, headers = stored.value, [*stored.headers]
    reference = _reference(value) if stored.by_reference else None
    return Letter(
        place=stored.place,
        told=stored.letter,
        key=None if reference else stored.key,
        value=None if reference else value,
        headers=[] if reference else headers,
        reference=reference,
        size_bytes=reference.size_bytes if reference else len(value or b""),
        replayed=None if reference else Replayed.from_headers(headers),
    )


def _reference(value: bytes | None) -> Reference | None:
    try:
        return msgspec.json.decode(value or b"", type=Reference)
    except msgspec.MsgspecError:  # a record that only says so itself
        return None
