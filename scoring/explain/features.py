"""Fields, looked-up values and features of one record, with how each feature comes about."""

import math
from collections.abc import Mapping

import numpy as np

from scoring.contract.clock import from_epoch_s, rfc3339
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import (
    Category,
    DayOfWeek,
    DayOfYear,
    Difference,
    Elapsed,
    Feature,
    FeatureSchema,
    FieldType,
    FrozenLookup,
    HourOfDay,
    IsMissing,
    Log,
    MonthOfYear,
    Number,
    Ratio,
    inputs_of,
)
from scoring.contract.golden import Value
from scoring.explain.explanation import FeatureShown, FieldShown, LookedUp
from scoring.scorer.decode import EARLIEST_S, END_S
from scoring.scorer.scorer import Scorer

Lookups = Mapping[str, Mapping[str, Value]]


def fields_of(schema: FeatureSchema, columns: Columns) -> tuple[FieldShown, ...]:
    """The declared fields; ``columns`` have one row."""
    return tuple(
        FieldShown(name=field.name, type=field.type.value, value=value_of(field.type, columns[field.name]))
        for field in schema.fields
    )


def enrichment_of(
    schema: FeatureSchema, columns: Columns, carried: Lookups, source: str = "prediction"
) -> tuple[LookedUp, ...]:
    """The looked-up values.

    Args:
        columns: one row, with those of frozen lookups.
        carried: those that came from elsewhere; what is not in it although it should be is ``missing``.
        source: where ``carried`` comes from.
    """
    found = []
    for lookup in schema.lookups:
        for field in lookup.fields:
            frozen = isinstance(lookup, FrozenLookup)
            there = frozen or field.name in carried.get(lookup.name, {})
            value = value_of(field.type, columns[f"{lookup.name}.{field.name}"])
            whence = "bundle" if frozen else source if there else "missing"
            found.append(LookedUp(lookup=lookup.name, field=field.name, value=value, source=whence))
    return tuple(found)


def carried(lookups: Lookups) -> tuple[LookedUp, ...]:
    """What a prediction alone says was looked up: times are seconds, and frozen values are not among it."""
    return tuple(
        LookedUp(lookup=name, field=field, value=value, source="prediction")
        for name, values in lookups.items()
        for field, value in values.items()
    )


def features_of(scorer: Scorer, columns: Columns) -> tuple[FeatureShown, ...]:
    """The columns of the matrix, as the model sees them; ``columns`` have one row, with all looked-up ones."""
    types = scorer.schema.column_types()
    (row,) = scorer.features(columns, 1).tolist()
    return tuple(
        FeatureShown(
            name=feature.name,
            value=value if math.isfinite(value) else None,
            exact=repr(value),
            how=how(feature),
            of={name: value_of(types[name], columns[name]) for name, _ in inputs_of(feature)},
        )
        for feature, value in zip(scorer.schema.features, row, strict=True)
    )


def value_of(kind: FieldType, column: Column) -> Value:
    """The one value of a column for people: a time in RFC 3339, missing as None."""
    found = column[0]
    if found is None or isinstance(found, str):
        return found
    number = float(found)
    if math.isnan(number):
        return None
    match kind:
        case FieldType.BOOLEAN:
            return bool(number)
        case FieldType.TIME if EARLIEST_S <= number < END_S:
            return rfc3339(from_epoch_s(number))
        case _:
            return number if math.isfinite(number) else repr(number)


def how(feature: Feature) -> str:
    """How a feature comes from its columns, in words."""
    match feature:
        case Number(of=of):
            return of
        case Category(of=of, vocabulary=vocabulary):
            return f"place of {of} among {len(vocabulary)} known words, from 0"
        case HourOfDay(of=of, zone=zone):
            return f"hours since midnight of {of}, {zone}"
        case DayOfWeek(of=of, zone=zone):
            return f"day of the week of {of}, {zone}, Monday 0"
        case DayOfYear(of=of, zone=zone):
            return f"day of the year of {of}, {zone}"
        case MonthOfYear(of=of, zone=zone):
            return f"month of {of}, {zone}"
        case Elapsed(of=of, since=since):
            return f"seconds from {since} to {of}"
        case Ratio(of=of, by=by):
            return f"{of} / {by}"
        case Difference(of=of, minus=minus):
            return f"{of} - {minus}"
        case Log(of=of):
            return f"log(1 + {of})"
        case IsMissing(of=of):
            return f"1 where {of} is missing, else 0"


def same_bits(one: float, other: float) -> bool:
    """Whether two float64 are the same in every bit; 0.0 and -0.0 are not."""
    return bool(np.float64(one).view(np.int64) == np.float64(other).view(np.int64))
