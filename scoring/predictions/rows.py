"""Records to rows. Nothing is altered: a row gives back the record that it was made of (``stored``).

The fields of a row are the columns of its table, in their order.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter, is_by_reference
from scoring.contract.decoding import decodable
from scoring.contract.errors import ContractError, sentence
from scoring.contract.notice import ModelName, Sequence
from scoring.contract.prediction import Prediction, decode_prediction
from scoring.predictions.keys import bytes_text, key_text, whole_key
from scoring.predictions.stored import Headers, Record

_encode = msgspec.json.Encoder().encode


class _Texts(msgspec.Struct, frozen=True, gc=False):
    """The documents of a prediction as they are written: of a number that is read, the writing is gone."""

    pass_through: msgspec.Raw = msgspec.Raw(b"{}")
    lookups: msgspec.Raw = msgspec.Raw(b"{}")


_texts = msgspec.json.Decoder(_Texts).decode


class PredictionRow(msgspec.Struct, frozen=True, gc=False):
    """A row of ``predictions`` or ``latest_predictions``."""

    topic: str
    topic_id: str
    topic_partition: int
    topic_offset: int
    model: str
    record_key: str | None
    whole_key: bytes | None
    headers: str | None
    version: str
    sequence: int
    manifest_digest: str
    score: float
    decision: bool | None
    label: str | None
    probabilities: str | None
    event_time: datetime
    scored_at: datetime
    input_topic: str
    input_topic_id: str
    input_partition: int
    input_offset: int
    pass_through: str | None
    lookups: str | None


class DeadLetterRow(msgspec.Struct, frozen=True, gc=False):
    """A row of ``dead_letters``."""

    topic: str
    topic_id: str
    topic_partition: int
    topic_offset: int
    model: str
    record_key: str | None
    whole_key: bytes | None
    value: bytes | None
    headers: str | None
    by_reference: bool
    reason: str
    detail: str
    at: datetime
    version: str
    sequence: int
    input_topic: str
    input_topic_id: str
    input_partition: int
    input_offset: int


class UnreadableRow(msgspec.Struct, frozen=True, gc=False):
    """A row of ``unreadable_records``."""

    topic: str
    topic_id: str
    topic_partition: int
    topic_offset: int
    recorded_at: datetime | None
    reason: str
    key: bytes | None
    value: bytes | None
    headers: str | None


class _Checked(msgspec.Struct, frozen=True):
    """What the headers of a dead letter must hold for a row."""

    model: ModelName
    sequence: Sequence
    origin: Position


decodable(_Checked)


def prediction_row(record: Record) -> PredictionRow:
    """The row of a record of a topic of predictions.

    Raises:
        ContractError: it is not a prediction, or holds what no table can.
    """
    found, place, key = _decoded(record.value), record.place, record.key
    texts = _texts(record.value or b"")
    text = None if key is None else key_text(key)
    own = found.input
    _refuse_null_characters(found.version, found.label, own.topic, own.topic_id)
    return PredictionRow(
        place.topic,
        place.topic_id,
        place.partition,
        place.offset,
        found.model,
        text,
        None if key is None or text is None else whole_key(key, text),
        _headers_text(record.headers),
        found.version,
        found.sequence,
        found.manifest_digest,
        found.score,
        found.decision,
        found.label,
        None if found.probabilities is None else _encode(found.probabilities).decode(),
        _utc("event_time", found.event_time),
        _utc("scored_at", found.scored_at),
        own.topic,
        own.topic_id,
        own.partition,
        own.offset,
        bytes(texts.pass_through).decode() if found.pass_through else None,
        bytes(texts.lookups).decode() if found.lookups else None,
    )


def dead_letter_row(record: Record) -> DeadLetterRow:
    """The row of a record of a topic of dead letters.

    Raises:
        ContractError: it is not a dead letter, or holds what no table can.
    """
    letter, place, key = _letter(record.headers), record.place, record.key
    text = None if key is None else key_text(key)
    origin, at = letter.origin, _utc("at", letter.at)
    _refuse_null_characters(letter.detail, letter.version, origin.topic, origin.topic_id)
    own, by_reference = _without_baton_s(record.headers, letter)
    return DeadLetterRow(
        place.topic,
        place.topic_id,
        place.partition,
        place.offset,
        letter.model,
        text,
        None if key is None or text is None else whole_key(key, text),
        record.value,
        _headers_text(own),
        by_reference,
        letter.reason.value,
        letter.detail,
        at,
        letter.version,
        letter.sequence,
        origin.topic,
        origin.topic_id,
        origin.partition,
        origin.offset,
    )


def unreadable_row(record: Record, reason: str) -> UnreadableRow:
    """The row of a record that is neither, with the reason."""
    place = record.place
    return UnreadableRow(
        place.topic,
        place.topic_id,
        place.partition,
        place.offset,
        record.recorded_at,
        sentence(reason).replace("\0", "\\0"),
        record.key,
        record.value,
        _headers_text(record.headers),
    )


def _decoded(value: bytes | None) -> Prediction:
    if value is None:
        raise ContractError("not a prediction: the value is null")
    try:
        return decode_prediction(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(f"not a prediction: {error}") from error


def _letter(headers: Headers) -> DeadLetter:
    try:
        letter = DeadLetter.from_headers(headers)
        document = {
            "model": letter.model,
            "sequence": letter.sequence,
            "origin": msgspec.structs.asdict(letter.origin),
        }
        msgspec.convert(document, _Checked)
    except (ValueError, msgspec.MsgspecError) as error:
        text = str(error)
        raise ContractError(text if text.startswith("not a") else f"not a dead letter: {text}") from error
    return letter


def _without_baton_s(headers: Headers, letter: DeadLetter) -> tuple[Headers, bool]:
    """The input's own headers, and whether it is kept by reference. Of each of Baton's names the last one goes: an
    input that was a dead letter before has them, too.
    """
    by_reference = is_by_reference(headers)
    added = {name for name, _ in letter.headers()}
    own: list[tuple[str, bytes | None]] = []
    for name, content in reversed(headers[:-1] if by_reference else headers):
        if name in added:
            added.discard(name)
        else:
            own.append((name, content))
    return tuple(reversed(own)), by_reference


def _refuse_null_characters(*texts: str | None) -> None:
    for text in texts:
        if text is not None and "\0" in text:
            raise ContractError(f"{text[:100]!r} has a NUL, which no column of text can hold")


def _utc(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ContractError(f"{name} is {moment.isoformat()}, which has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ContractError(f"{name} is {moment.isoformat()}, which UTC has no date for") from error


def _headers_text(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    texts = [(name, None if content is None else bytes_text(content)) for name, content in headers]
    return _encode(texts).decode() if texts else None
