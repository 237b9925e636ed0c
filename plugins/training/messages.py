"""Input messages from rows of the source: what a producer at the event would have sent, and golden rows hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from math import isnan
from typing import Any

import msgspec

from scoring.contract.clock import from_epoch_s, rfc3339
from scoring.contract.features import Field, FieldType
from scoring.lookups.database import Engines
from scoring.settings import Settings
from scoring.sources.port import Pull
from scoring.sources.sql import stream_rows
from training.definition import ModelDefinition

_WHOLE_END = 2.0**53

Row = Mapping[str, Any]


class Message(msgspec.Struct, frozen=True):
    """One input message.

    Attributes:
        key: the record's key as text in UTF-8.
        value: the JSON document.
    """

    key: bytes
    event_time: datetime
    value: bytes


def encode_message(fields: Sequence[Field], row: Row) -> bytes:
    """The JSON of a row: the fields that are known at the event, null where there is no value.

    Args:
        row: value by field. Times are aware datetimes or seconds since 1970; a missing number may be NaN.
    """
    document = {field.name: _VALUES[field.type](row[field.name]) for field in fields if field.known_after_s <= 0}
    return msgspec.json.encode(document)


def messages(definition: ModelDefinition, settings: Settings, start: datetime, end: datetime) -> Iterator[Message]:
    """The messages of the events in ``[start, end)`` in the order of their time, read as they are needed.

    Raises:
        Unavailable: the database cannot be reached.
        ConfigurationError: the connection, a table or a column is unknown.
    """
    fields, engines = definition.known_fields, Engines(settings.need_connection)
    kinds = {field.name: field.type for field in fields}
    try:
        source, event_time = definition.manifest_source, definition.event_time
        pull = Pull(source=source, kinds=kinds, event_time=event_time, start=start, end=end)
        for row in stream_rows(engines, pull):
            key = key_text(kinds[definition.key], row[definition.key])
            moment = from_epoch_s(row[definition.event_time])
            yield Message(key.encode(), moment, encode_message(fields, row))
    finally:
        engines.close()


def key_text(kind: FieldType, value: Any) -> str:
    """A key's value as text, as it stands in JSON without quotes."""
    return str(_VALUES[kind](value))


def _number(value: Any) -> float | int | None:
    if value is None or isnan(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < _WHOLE_END else number


def _string(value: Any) -> str | None:
    return None if value is None else str(value)


def _boolean(value: Any) -> bool | None:
    return None if value is None or isnan(value) else bool(value)


def _time(value: Any) -> str | None:
    if isinstance(value, datetime):
        return rfc3339(value)
    return None if value is None or isnan(value) else rfc3339(from_epoch_s(float(value)))


_VALUES: Mapping[FieldType, Callable[[Any], Any]] = {
    FieldType.NUMBER: _number,
    FieldType.STRING: _string,
    FieldType.BOOLEAN: _boolean,
    FieldType.TIME: _time,
}
