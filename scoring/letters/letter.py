"""A dead letter as it stands in its topic."""

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter, Reference, is_by_reference, own_headers
from scoring.contract.replay import Replayed
from scoring.kafka import RecordHeaders
from scoring.letters.text import as_text
from scoring.reading import Stored


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with the record that it was made from.

    Attributes:
        place: where it stands in the dead-letter topic.
        told: what its headers say: the reason, where the record came from, the version that refused it.
        key, value, headers: the record's own; nothing of them where ``reference`` stands in for the record.
        size_bytes: of the record's value, also where it is stored by reference.
        replayed: the record was a replay already.
    """

    place: Position
    told: DeadLetter
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders
    reference: Reference | None
    size_bytes: int
    replayed: Replayed | None

    @property
    def replays(self) -> int:
        """How often the record was replayed before it became this dead letter."""
        return self.replayed.number if self.replayed else 0

    def without_content(self) -> "Letter":
        """The same, but for key, value and headers: many of them fit into memory."""
        return msgspec.structs.replace(self, key=None, value=None, headers=[])

    def summary(self) -> dict[str, object]:
        """What is known of it, without the record's content."""
        return {
            "place": self.place,
            "reason": self.told.reason,
            "detail": self.told.detail,
            "at": self.told.at,
            "origin": self.told.origin,
            "model": self.told.model,
            "version": self.told.version,
            "sequence": self.told.sequence,
            "size_bytes": self.size_bytes,
            "by_reference": self.reference is not None,
            "replays": self.replays,
        }


def letter_of(stored: Stored, topic: str, topic_id: str) -> Letter:
    """The dead letter in a record of a dead-letter topic.

    Raises:
        ValueError: the record is none: somebody else wrote it.
    """
    told, own = DeadLetter.from_headers(stored.headers), own_headers(stored.headers)
    place = Position(topic=topic, topic_id=topic_id, partition=stored.partition, offset=stored.offset)
    if is_by_reference(stored.headers):
        return _by_reference(stored, told, place)
    return Letter(
        place=place,
        told=told,
        key=stored.key,
        value=stored.value,
        headers=own,
        reference=None,
        size_bytes=len(stored.value or b""),
        replayed=Replayed.from_headers(own),
    )


def _by_reference(stored: Stored, told: DeadLetter, place: Position) -> Letter:
    try:
        reference = msgspec.json.decode(stored.value or b"", type=Reference)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a dead letter: its reference cannot be read: {error}") from error
    if reference.origin != told.origin:
        raise ValueError("not a dead letter: its reference names another record than its headers")
    return Letter(
        place=place,
        told=told,
        key=None,
        value=None,
        headers=[],
        reference=reference,
        size_bytes=reference.size_bytes,
        replayed=None,
    )


def content_of(key: bytes | None, value: bytes | None, headers: RecordHeaders) -> dict[str, object]:
    """A record's content as JSON can hold it: nothing is altered, and what is not UTF-8 is base64."""
    return {
        "key": as_text(key),
        "value": as_text(value),
        "headers": [{"name": name, "value": as_text(content)} for name, content in headers],
    }
