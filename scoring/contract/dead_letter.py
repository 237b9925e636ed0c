"""The dead letter: an input that cannot be scored, as it was, with the reason in additional headers (protocol B.8)."""

from collections.abc import Iterable, Sequence
from datetime import UTC
from enum import StrEnum
from typing import Self

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import Moment, rfc3339
from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest, digest_of
from scoring.contract.notice import ModelName
from scoring.contract.notice import Sequence as LedgerSequence

PREFIX = "baton-dead-letter-"
MAXIMUM_DETAIL_CHARACTERS = 300
_ORIGIN = ("topic", "topic-id", "partition", "offset")
# What Baton's own headers and Kafka's framing can add to a record at the most.
MARGIN_BYTES = 16_384

RecordHeaders = Iterable[tuple[str, bytes | None]]


class Reason(StrEnum):
    """Why a record cannot be scored. Values are stable: they are metric labels."""

    NULL_VALUE = "null-value"
    MALFORMED_JSON = "malformed-json"
    WRONG_TYPE = "wrong-type"
    MISSING_FIELD = "missing-field"
    NON_FINITE = "non-finite"
    UNSCORABLE = "unscorable"
    TOO_LARGE = "too-large"
    TOO_DEEP = "too-deep"
    REPEATED_KEY = "repeated-key"
    UNKNOWN_FIELD = "unknown-field"
    NULL_CHARACTER = "null-character"
    CLOCK_OFF = "clock-off"
    LOOKUP_MISS = "lookup-miss"
    LOOKUP_OUTAGE = "lookup-outage"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What the additional headers of a dead letter say.

    Attributes:
        detail: a sentence for people, never the record's content.
        origin: where the record stands in the input topic.
        sequence: the sequence that refused it.
    """

    reason: Reason
    detail: str
    origin: Position
    at: Moment
    model: ModelName
    version: str
    sequence: LedgerSequence

    def headers(self) -> list[tuple[str, bytes]]:
        """The additional headers, to follow the record's own (``own_headers`` takes them off again)."""
        origin = self.origin
        fields = {
            "reason": self.reason.value,
            "detail": self.detail[:MAXIMUM_DETAIL_CHARACTERS],
            "topic": origin.topic,
            "topic-id": origin.topic_id,
            "partition": str(origin.partition),
            "offset": str(origin.offset),
            "at": rfc3339(self.at),
            "model": self.model,
            "version": self.version,
            "sequence": str(self.sequence),
        }
        return [(PREFIX + name, text.encode("utf-8", "replace")) for name, text in fields.items()]

    @classmethod
    def from_headers(cls, headers: RecordHeaders) -> Self:
        """Read the additional headers of a dead letter. The last of a name counts: it is the newest.

        Raises:
            ValueError: they are missing or malformed.
        """
        last = {name: value or b"" for name, value in headers}  # a record's own of such a name may be anything
        found = {name.removeprefix(PREFIX): last[name].decode() for name in _ADDED if name in last}
        try:
            document = {
                "reason": found["reason"],
                "detail": found["detail"],
                "origin": {name.replace("-", "_"): found[name] for name in _ORIGIN},
                **{name: found[name] for name in ("at", "model", "version", "sequence")},
            }
            letter = msgspec.convert(document, cls, strict=False)  # a header's number is text
            return msgspec.structs.replace(letter, at=letter.at.astimezone(UTC))
        except KeyError as error:
            raise ValueError(f"not a dead letter: there is no header {PREFIX}{error.args[0]}") from error
        except (msgspec.MsgspecError, OverflowError) as error:  # whoever may write to the topic can write anything
            raise ValueError(f"not a dead letter: {error}") from error


decodable(DeadLetter)


class Reference(msgspec.Struct, frozen=True, kw_only=True, tag_field="form", tag="reference"):
    """Stands in for the value of a record that does not fit into the dead-letter topic."""

    origin: Position
    sha256: Digest
    size_bytes: int


REFERENCE_HEADER = PREFIX + "by-reference"
# In the order of ``DeadLetter.headers``.
_ADDED = tuple(
    PREFIX + name
    for name in (
        "reason",
        "detail",
        "topic",
        "topic-id",
        "partition",
        "offset",
        "at",
        "model",
        "version",
        "sequence",
    )
)


def refer(origin: Position, value: bytes | None) -> bytes:
    """The value of a dead letter that is stored by reference and digest."""
    content = value or b""
    return msgspec.json.encode(Reference(origin=origin, sha256=digest_of(content), size_bytes=len(content)))


def is_by_reference(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether the value of a dead letter with these headers is a ``Reference``; a record's own header does not say."""
    return bool(headers) and headers[-1] == (REFERENCE_HEADER, b"1")


def own_headers(headers: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """The headers that a dead letter's record itself had, also those that look like Baton's; none by reference.

    Raises:
        ValueError: the additional headers are not behind them.
    """
    end = len(headers) - len(_ADDED) - is_by_reference(headers)
    if end < 0 or tuple(name for name, _ in headers[end : end + len(_ADDED)]) != _ADDED:
        raise ValueError("not a dead letter: the additional headers are not the last ones")
    return list(headers[:end])


def record_size_bytes(key: bytes | None, value: bytes | None, headers: RecordHeaders) -> int:
    """An upper bound of what a record takes in a Kafka batch of its own (framing included)."""
    size = len(key or b"") + len(value or b"")
    return size + sum(len(name.encode()) + len(content or b"") + 20 for name, content in headers) + 128
