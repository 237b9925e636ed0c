"""The fields of an input record."""

from enum import StrEnum
from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")]


class FieldType(StrEnum):
    """The JSON form of a field and its column.

    ``number``: a JSON number, column of float64. ``string``: a JSON string, column of str. ``boolean``: column of
    float64 0 and 1. ``time``: an RFC 3339 string with an offset, column of float64 seconds since 1970.
    """

    NUMBER = "number"
    STRING = "string"
    BOOLEAN = "boolean"
    TIME = "time"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of the input record.

    Attributes:
        required: a record that lacks it, or has null there, becomes a dead letter; otherwise it is a missing value.
        known_after_s: how long after the event time the value is known; 0 is at the event. A feature whose field is
            known later than the moment of the prediction is a leak.
    """

    name: Name
    type: FieldType
    required: bool = False
    known_after_s: float = 0.0
