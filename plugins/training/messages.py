"""Input messages from rows of the sources: what a producer at the event would have sent, and golden rows hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from math import isnan
from typing import Any

import msgspec
import numpy as np

from scoring.contract.clock import from_epoch_s, rfc3339
from scoring.contract.features import Field, FieldType
from scoring.settings import Settings
from scoring.sources.joined import assemble, plan
from scoring.sources.open import Sources
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
        Unavailable: a source cannot be read now.
        ConfigurationError: the connection, the place or a column is unknown.
    """
    fields = definition.known_fields
    kinds = {field.name: field.type for field in fields}
    for row in _rows(definition, kinds, settings, start, end):
        key = key_text(kinds[definition.key], row[definition.key])
        yield Message(key.encode(), from_epoch_s(row[definition.event_time]), encode_message(fields, row))


def _rows(
    definition: ModelDefinition, kinds: Mapping[str, FieldType], settings: Settings, start: datetime, end: datetime
) -> Iterator[Row]:
    """The records in the order of their time; those of several sources are all read first."""
    sources, event_time = definition.manifest_sources, definition.event_time
    pulls = plan(sources, kinds, event_time, start, end)
    with Sources(settings.need_connection) as reader:
        if len(pulls) == 1:
            yield from reader.stream(pulls[0])
            return
        columns = assemble(sources, pulls, [reader.read(pull) for pull in pulls])
    for place in np.argsort(np.asarray(columns[event_time], dtype=np.float64), kind="stable").tolist():
        yield {name: column[place] for name, column in columns.items()}


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
