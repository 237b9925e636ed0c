"""The feature schema: the fields of an input record, what is looked up for it, and the columns of the float matrix.

Everything here is data. The transforms form a small vocabulary, so that the one encoder can run them vectorised and
no bundle ever carries code.
"""

from collections.abc import Iterator

import msgspec

from scoring.contract.errors import ConfigurationError
from scoring.contract.fields import Field, FieldType, Name
from scoring.contract.lookup import FrozenLookup, Lookup, LookupField, TableLookup, TopicLookup, lookup_mistakes
from scoring.contract.records import RecordRules

__all__ = [
    "Category",
    "DayOfWeek",
    "DayOfYear",
    "Difference",
    "Elapsed",
    "Feature",
    "FeatureSchema",
    "Field",
    "FieldType",
    "FrozenLookup",
    "HourOfDay",
    "IsMissing",
    "Log",
    "Lookup",
    "LookupField",
    "MonthOfYear",
    "Name",
    "Number",
    "Ratio",
    "TableLookup",
    "TopicLookup",
    "inputs_of",
]


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

    Attributes:
        records: what a record may be beyond its fields' types.

    Raises:
        ConfigurationError: a feature or lookup refers to something that is not there, or to a wrong type; every
            mistake is listed.
    """

    key: str
    event_time: str
    fields: tuple[Field, ...]
    lookups: tuple[Lookup, ...] = ()
    features: tuple[Feature, ...]
    records: RecordRules = RecordRules()

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
        yield from lookup_mistakes(lookup, fields)
    yield from schema.records.mistakes()
    types = schema.column_types()
    for feature in schema.features:
        yield from _feature_mistakes(feature, types)


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the {what} {name!r} is there twice"


def _feature_mistakes(feature: Feature, types: dict[str, FieldType]) -> Iterator[str]:
    numeric = {FieldType.NUMBER, FieldType.BOOLEAN}
    for column, needed in inputs_of(feature):
        found = types.get(column)
        if found is None:
            yield f"feature {feature.name!r}: {column!r} is neither a field nor a looked-up value"
        elif needed is not None and found is not needed and not (needed in numeric and found in numeric):
            yield f"feature {feature.name!r}: {column!r} is a {found.value}, a {needed.value} is needed"
