"""The replay of a dead letter: what the replayed record says of itself, and the note of it in ``baton.replays``.

A note is written in the transaction that puts the record back, so that there is one exactly where there is the other.
Notes are not signed: whoever may write to the topic can hold a replay back, which the command then says, while a
signing key that was rotated away must not make a record be replayed again.
"""

from collections.abc import Iterable
from typing import Self

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import Moment
from scoring.contract.dead_letter import Reason
from scoring.contract.decoding import decodable

REPLAY_PREFIX = "baton-replay-"
OF_HEADER = REPLAY_PREFIX + "of"
NUMBER_HEADER = REPLAY_PREFIX + "number"


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a replayed record say.

    Attributes:
        letter: the dead letter that it was, by its place in the dead-letter topic.
        number: how often the record was replayed by now, this time included.
    """

    letter: Position
    number: int

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers, to follow the record's own."""
        letter = self.letter
        place = f"{letter.topic}/{letter.topic_id}/{letter.partition}/{letter.offset}"
        return [(OF_HEADER, place.encode()), (NUMBER_HEADER, str(self.number).encode())]

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes | None]]) -> Self | None:
        """Read the headers of a record; None where it is no replay, or somebody else wrote such headers."""
        found = {name: value or b"" for name, value in headers if name.startswith(REPLAY_PREFIX)}
        try:
            topic, _, place = found[OF_HEADER].decode().partition("/")
            topic_id, partition, offset = place.rsplit("/", 2)  # there may be a slash in the topic's id
            letter = Position(topic=topic, topic_id=topic_id, partition=int(partition), offset=int(offset))
            return cls(letter=letter, number=int(found[NUMBER_HEADER]))
        except (KeyError, ValueError):
            return None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record of ``baton.replays``: one dead letter was put back into its input topic.

    Attributes:
        letter: where the dead letter stands.
        origin: where the record stood that it was made from.
        number: how often the record was replayed by then.
        why: for people, by whoever replayed it.
        at: by the clock of the process that replayed it.
    """

    model: str
    letter: Position
    origin: Position
    reason: Reason
    number: int
    actor: str
    why: str
    at: Moment

    def key(self) -> bytes:
        """The Kafka key: one for each dead letter."""
        return note_key(self.model, self.letter)


def note_key(model: str, letter: Position) -> bytes:
    """The Kafka key of the note of a dead letter. The topic's id tells a recreated topic's letters apart."""
    return f"{model}/{letter.topic_id}/{letter.partition}/{letter.offset}".encode()


decodable(Note)
