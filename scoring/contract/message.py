"""The message of a row: what a producer at the event would have sent for a row of the sources."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import isnan
from typing import Any

import msgspec

from scoring.contract.clock import from_epoch_s, rfc3339
from scoring.contract.fields import Field, FieldType

_WHOLE_END = 2.0**53

Row = Mapping[str, Any]


def encode_message(fields: Sequence[Field], row: Row) -> bytes:
    """The JSON of a row: the fields that are known at the event, null where there is no value.

    Args:
        row: value by field. Times are aware datetimes or seconds since 1970; a missing number may be NaN.
    """
    document = {field.name: _VALUES[field.type](row[field.name]) for field in fields if field.known_after_s <= 0}
    return msgspec.json.encode(document)


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
