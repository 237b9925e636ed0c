"""Rows of a looked-up table as the join takes them, wherever they come from. Needs no database's library."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scoring.contract.asof import FOREVER_S, Rows
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.lookup import AsOf

# The matched columns, ``valid_at`` and ``known_at`` where there are such, and the fields.
Row = tuple[Any, ...]


def times_of(lookup: AsOf) -> list[str]:
    """The columns of times, in their order."""
    return [column for column in (lookup.valid_at, lookup.known_at) if column is not None]


def as_rows(lookup: AsOf, kinds: Sequence[FieldType], rows: Sequence[Row]) -> Rows:
    """Rows of the database as the join takes them: keys in the form that a record has them in."""
    width = len(lookup.match)
    columns = list(zip(*rows, strict=True)) or [()] * (width + len(times_of(lookup)) + len(lookup.fields))
    keys = [_key_column(kind, column) for kind, column in zip(kinds, columns, strict=False)]
    times = [
        np.array([np.nan if moment is None else moment for moment in column], np.float64)
        for column in columns[width : width + len(times_of(lookup))]
    ]
    values = columns[width + len(times) :]
    valid_at = np.full(len(rows), FOREVER_S) if lookup.valid_at is None else times[0]
    return Rows(
        keys=list(zip(*keys, strict=True)),
        valid_at=valid_at,
        known_at=None if lookup.known_at is None else times[1],
        values={field.name: as_column(field.type, column) for field, column in zip(lookup.fields, values, strict=True)},
    )


def _key_column(kind: FieldType, column: Sequence[Any]) -> Sequence[Any]:
    """The values of a matched column in the form that a record has them in.

    Raises:
        ConfigurationError: a value is not of that type.
    """
    cast = str if kind is FieldType.STRING else float
    try:
        return [None if part is None else cast(part) for part in column]
    except (TypeError, ValueError) as error:
        message = f"a column that is matched with a {kind.value} holds something else: {error}"
        raise ConfigurationError(message) from error


def as_column(kind: FieldType, values: Any) -> Column:
    """A column as the encoder takes it, from a sequence of a database's values.

    Infinity is a missing value: no JSON record can carry it, so a worker would not see it either.

    Raises:
        ConfigurationError: a value is not of that type.
    """
    try:
        if kind is FieldType.STRING:
            return [None if value is None else str(value) for value in values]
        numbers = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"a column that is declared as {kind.value} holds something else: {error}") from error
    return np.where(np.isinf(numbers), np.nan, numbers)
