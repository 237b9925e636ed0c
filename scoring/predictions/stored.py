"""What the tables give back: predictions and dead letters as their topics hold them.

Documents of a row come as text.
"""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter, Reason
from scoring.contract.decoding import decodable
from scoring.contract.golden import Value
from scoring.contract.prediction import Prediction
from scoring.predictions.keys import key_bytes, text_bytes

Headers = tuple[tuple[str, bytes | None], ...]
_HeaderTexts = list[tuple[str, str | None]]
_Probabilities = dict[str, float]
_Fields = dict[str, Value]
_Lookups = dict[str, _Fields]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a topic of predictions or dead letters.

    Attributes:
        place: where it stands.
        recorded_at: its timestamp in Kafka; None where it has none.
    """

    place: Position
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    recorded_at: datetime | None = None


class StoredPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction and the record that carries it.

    Attributes:
        place: where it stands in the topic of predictions.
        record_key: the record's key as text (see ``keys.key_text``).
        key: the record's key.
        headers: the record's correlation and trace headers.
        pass_through_text, lookups_text: those of the prediction, as the record writes them; None where there is none.
    """

    prediction: Prediction
    place: Position
    record_key: str | None
    key: bytes | None
    headers: Headers
    pass_through_text: str | None = None
    lookups_text: str | None = None


class StoredDeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter and the record that carries it.

    Attributes:
        place: where it stands in the topic of dead letters.
        record_key: the input's key as text (see ``keys.key_text``).
        key, value, headers: those of the input, without what Baton added.
        by_reference: the input did not fit: ``value`` is a reference to it (``dead_letter.Reference``).
    """

    letter: DeadLetter
    place: Position
    record_key: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    by_reference: bool


class StoredUnreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is no prediction and no dead letter, and why."""

    record: Record
    reason: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a key's history, newest first.

    Attributes:
        before: what to ask for to get what follows, that is older; None at the end.
    """

    predictions: tuple[StoredPrediction, ...]
    before: str | None


decodable(_HeaderTexts, _Probabilities, _Fields, _Lookups)


def stored_prediction(row: sa.RowMapping) -> StoredPrediction:
    """The prediction that a row was made of."""
    return StoredPrediction(
        prediction=Prediction(
            model=row["model"],
            version=row["version"],
            sequence=row["sequence"],
            manifest_digest=row["manifest_digest"],
            score=row["score"],
            decision=row["decision"],
            label=row["label"],
            probabilities=_read(row["probabilities"], _Probabilities, None),
            event_time=row["event_time"],
            scored_at=row["scored_at"],
            input=_position(row, "input"),
            pass_through=_read(row["pass_through"], _Fields, {}),
            lookups=_read(row["lookups"], _Lookups, {}),
        ),
        place=_position(row, "topic"),
        record_key=row["record_key"],
        key=_key(row),
        headers=_headers(row["headers"]),
        pass_through_text=row["pass_through"],
        lookups_text=row["lookups"],
    )


def stored_dead_letter(row: sa.RowMapping) -> StoredDeadLetter:
    """The dead letter that a row was made of."""
    return StoredDeadLetter(
        letter=DeadLetter(
            reason=Reason(row["reason"]),
            detail=row["detail"],
            origin=_position(row, "input"),
            at=row["at"],
            model=row["model"],
            version=row["version"],
            sequence=row["sequence"],
        ),
        place=_position(row, "topic"),
        record_key=row["record_key"],
        key=_key(row),
        value=_bytes(row["value"]),
        headers=_headers(row["headers"]),
        by_reference=row["by_reference"],
    )


def stored_unreadable(row: sa.RowMapping) -> StoredUnreadable:
    """The record that a row was made of."""
    record = Record(
        place=_position(row, "topic"),
        key=_bytes(row["key"]),
        value=_bytes(row["value"]),
        headers=_headers(row["headers"]),
        recorded_at=row["recorded_at"],
    )
    return StoredUnreadable(record=record, reason=row["reason"])


def _headers(text: str | None) -> Headers:
    if text is None:
        return ()
    found = msgspec.json.decode(text, type=_HeaderTexts)
    return tuple((name, None if content is None else text_bytes(content)) for name, content in found)


def _read(text: str | None, kind: type, otherwise: Any) -> Any:
    return otherwise if text is None else msgspec.json.decode(text, type=kind)


def _bytes(found: Any) -> bytes | None:
    return None if found is None else bytes(found)


def _key(row: sa.RowMapping) -> bytes | None:
    text = row["record_key"]
    return None if text is None else key_bytes(text, _bytes(row["whole_key"]))


def _position(row: sa.RowMapping, kind: str) -> Position:
    """The place in the columns ``<kind>_…``."""
    name = "topic" if kind == "topic" else "input_topic"
    return Position(
        topic=row[name],
        topic_id=row[f"{name}_id"],
        partition=row[f"{kind}_partition"],
        offset=row[f"{kind}_offset"],
    )
