"""The feature schema: the fields of an input record, what is looked up for it, and the columns of the float matrix.

Everything here is data. The transforms form a small vocabulary, so that the one encoder can run them vectorised and
no bundle ever carries code.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec

from scoring.contract.errors import ConfigurationError

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


class LookupField(msgspec.Struct, frozen=True, kw_only=True):
    """One value that a lookup brings, from a column of the table."""

    name: Name
    type: FieldType = FieldType.NUMBER


class TableLookup(msgspec.Struct, frozen=True, kw_only=True, tag="table"):
    """Values from a table of a SQL database, as of the event.

    The row for a record is the newest with equal ``match`` columns whose ``valid_at`` lies in
    ``(as_of - max_age_s, as_of]``, where ``as_of`` is the event time rounded down to ``resolution_s`` minus ``lag_s``,
    and which was known by the event time where there is a ``known_at`` column. No such row: missing values.

    Attributes:
        connection: the *name* of a database connection; its address is the environment's business.
        match: pairs of (column of the table, field of the record).
        known_at: column that says when the row became known; None means that only ``valid_at`` vouches for it.
        resolution_s: event times within one step share a row, so that a cache can serve them.
    """

    name: Name
    connection: str
    table: str
    match: tuple[tuple[str, str], ...]
    valid_at: str
    known_at: str | None = None
    lag_s: float = 0.0
    max_age_s: float = 86_400.0
    resolution_s: float = 1.0
    fields: tuple[LookupField, ...]


Lookup = TableLookup


class Number(msgspec.Struct, frozen=True, kw_only=True, tag="number"):
    """The number itself; missing is NaN."""

    name: str
    of: str


class Category(msgspec.Struct, frozen=True, kw_only=True, tag="category"):
    """The index of a string in its vocabulary; missing and unknown are NaN. Training fills the vocabulary."""

    name: str
    of: str
    vocabulary: tuple[str, ...] = ()


class HourOfDay(msgspec.Struct, frozen=True, kw_only=True, tag="hour_of_day"):
    """Hours since local midnight with their fraction, [0, 24)."""

    name: str
    of: str
    zone: str = "UTC"


class DayOfWeek(msgspec.Struct, frozen=True, kw_only=True, tag="day_of_week"):
    """Local day of the week, Monday 0 to Sunday 6."""

    name: str
    of: str
    zone: str = "UTC"


class DayOfYear(msgspec.Struct, frozen=True, kw_only=True, tag="day_of_year"):
    """Local day of the year, 1 to 366."""

    name: str
    of: str
    zone: str = "UTC"


class MonthOfYear(msgspec.Struct, frozen=True, kw_only=True, tag="month_of_year"):
    """Local month, 1 to 12."""

    name: str
    of: str
    zone: str = "UTC"


class Elapsed(msgspec.Struct, frozen=True, kw_only=True, tag="elapsed"):
    """Seconds from the time ``since`` to the time ``of``."""

    name: str
    of: str
    since: str


class Ratio(msgspec.Struct, frozen=True, kw_only=True, tag="ratio"):
    """``of`` divided by ``by``; missing where ``by`` is 0."""

    name: str
    of: str
    by: str


class Difference(msgspec.Struct, frozen=True, kw_only=True, tag="difference"):
    """``of`` minus ``minus``."""

    name: str
    of: str
    minus: str


class Log(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Natural logarithm of 1 + the number; missing where the number is -1 or less."""

    name: str
    of: str


class IsMissing(msgspec.Struct, frozen=True, kw_only=True, tag="is_missing"):
    """1 where the value is missing, else 0."""

    name: str
    of: str


Feature = (
    Number | Category | HourOfDay | DayOfWeek | DayOfYear | MonthOfYear | Elapsed | Ratio | Difference | Log | IsMissing
)


class FeatureSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in: fields of the record, lookups, and the columns of the matrix in their order.

    A feature refers to a field by its name and to a looked-up value as ``lookup.field``.

    Raises:
        ConfigurationError: a feature or lookup refers to something that is not there, or to a wrong type; every
            mistake is listed.
    """

    key: str
    event_time: str
    fields: tuple[Field, ...]
    lookups: tuple[Lookup, ...] = ()
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        mistakes = list(_mistakes(self))
        if mistakes:
            raise ConfigurationError("feature schema:\n" + "\n".join(f"  - {line}" for line in mistakes))

    def column_types(self) -> dict[str, FieldType]:
        """The type of every column that a feature can refer to, by its name."""
        types = {field.name: field.type for field in self.fields}
        for lookup in self.lookups:
            types.update({f"{lookup.name}.{field.name}": field.type for field in lookup.fields})
        return types


def inputs_of(feature: Feature) -> tuple[tuple[str, FieldType | None], ...]:
    """The columns that a feature reads with the type that it needs; None is any type."""
    match feature:
        case Ratio(of=of, by=other) | Difference(of=of, minus=other):
            return (of, FieldType.NUMBER), (other, FieldType.NUMBER)
        case Elapsed(of=of, since=other):
            return (of, FieldType.TIME), (other, FieldType.TIME)
        case HourOfDay(of=of) | DayOfWeek(of=of) | DayOfYear(of=of) | MonthOfYear(of=of):
            return ((of, FieldType.TIME),)
        case Category(of=of):
            return ((of, FieldType.STRING),)
        case IsMissing(of=of):
            return ((of, None),)
        case Number(of=of) | Log(of=of):
            return ((of, FieldType.NUMBER),)


def _mistakes(schema: FeatureSchema) -> Iterator[str]:
    fields = {field.name: field for field in schema.fields}
    yield from _repeated("field", [field.name for field in schema.fields])
    yield from _repeated("lookup", [lookup.name for lookup in schema.lookups])
    yield from _repeated("feature", [feature.name for feature in schema.features])
    if not schema.features:
        yield "there is no feature"
    if schema.key not in fields:
        yield f"the key {schema.key!r} is not a field"
    if schema.event_time not in fields:
        yield f"the event time {schema.event_time!r} is not a field"
    elif fields[schema.event_time].type is not FieldType.TIME or not fields[schema.event_time].required:
        yield f"the event time {schema.event_time!r} must be a required field of type time"
    for lookup in schema.lookups:
        yield from _lookup_mistakes(lookup, fields)
    types = schema.column_types()
    for feature in schema.features:
        yield from _feature_mistakes(feature, types)


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the {what} {name!r} is there twice"


def _lookup_mistakes(lookup: Lookup, fields: dict[str, Field]) -> Iterator[str]:
    if not lookup.match:
        yield f"lookup {lookup.name!r}: there is no column to match"
    for column, field in lookup.match:
        if field not in fields:
            yield f"lookup {lookup.name!r}: column {column!r} is matched to {field!r}, which is not a field"
    if lookup.max_age_s <= 0 or lookup.resolution_s <= 0 or lookup.lag_s < 0:
        yield f"lookup {lookup.name!r}: max_age_s and resolution_s must be positive and lag_s not negative"


def _feature_mistakes(feature: Feature, types: dict[str, FieldType]) -> Iterator[str]:
    numeric = {FieldType.NUMBER, FieldType.BOOLEAN}
    for column, needed in inputs_of(feature):
        found = types.get(column)
        if found is None:
            yield f"feature {feature.name!r}: {column!r} is neither a field nor a looked-up value"
        elif needed is not None and found is not needed and not (needed in numeric and found in numeric):
            yield f"feature {feature.name!r}: {column!r} is a {found.value}, a {needed.value} is needed"
