"""The record that a dead letter was made from: as the letter keeps it, or, by reference, from the input topic."""

from collections.abc import Callable
from typing import Self

import msgspec

from scoring.contract.digest import digest_of
from scoring.contract.replay import Replayed
from scoring.kafka import UNREADABLE, Options, RecordHeaders
from scoring.letters.letter import Letter
from scoring.reading import Reader, Stored


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The record as its producer sent it.

    Attributes:
        replays: how often it was replayed before.
    """

    key: bytes | None
    value: bytes | None
    headers: RecordHeaders
    replays: int


class Gone(msgspec.Struct, frozen=True):
    """The record cannot be had any more; the sentence says why."""

    sentence: str


class Originals:
    """Finds the records of dead letters. A context manager; the input topic is opened when it is first needed.

    Args:
        topic: the model's input topic; a letter that names another one is not believed.
    """

    def __init__(self, kafka: Options, topic: str, open_reader: Callable[[Options, str], Reader] = Reader) -> None:
        self._kafka = kafka
        self._topic = topic
        self._open = open_reader
        self._reader: Reader | None = None

    def of(self, letter: Letter) -> Original | Gone:
        """The record of a letter.

        Raises:
            Unavailable, ConfigurationError: the input topic cannot be read now.
        """
        origin = letter.told.origin
        if origin.topic != self._topic:
            return Gone(f"it names the topic {origin.topic}, the model's input is {self._topic}")
        if letter.reference is None:
            return Original(key=letter.key, value=letter.value, headers=letter.headers, replays=letter.replays)
        reader = self._input()
        if reader.topic_id != origin.topic_id:
            return Gone(f"it is stored by reference, and {origin.topic} was deleted and made again since")
        found = reader.at(origin.partition, origin.offset)
        where = f"{origin.topic}, partition {origin.partition}, offset {origin.offset}"
        if found is None:
            return Gone(f"it is stored by reference, and the record is gone from {where}")
        return _checked(found, letter.reference.sha256, where)

    def _input(self) -> Reader:
        if self._reader is None:
            self._reader = self._open(self._kafka, self._topic)
        return self._reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.close()


def _checked(found: Stored, sha256: str, where: str) -> Original | Gone:
    if digest_of(found.value or b"") != sha256:
        return Gone(f"what stands in {where} is another record: its SHA-256 is not the one that was noted")
    if UNREADABLE in found.headers:
        return Gone("the name of one of its headers is not UTF-8, so that they cannot be sent again as they were")
    replayed = Replayed.from_headers(found.headers)
    replays = replayed.number if replayed else 0
    return Original(key=found.key, value=found.value, headers=found.headers, replays=replays)
