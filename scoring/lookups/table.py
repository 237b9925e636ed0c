"""A looked-up table in SQL: which columns are read, and its rows as the join takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from scoring.contract.asof import FOREVER_S, Rows
from scoring.contract.features import FieldType
from scoring.contract.lookup import AsOf
from scoring.lookups.database import as_column, last_moment, table_of

# The matched columns, ``valid_at`` and ``known_at`` where there are such, and the fields.
Row = tuple[Any, ...]


def table_of_lookup(lookup: AsOf, kinds: Sequence[FieldType]) -> sa.TableClause:
    """The looked-up table with the columns that count.

    Args:
        kinds: types of the record's fields that are matched, in the order of ``AsOf.match``.
    """
    columns = {field.name: field.type for field in lookup.fields}
    columns.update({column: kind for (column, _), kind in zip(lookup.match, kinds, strict=True)})
    columns.update(dict.fromkeys(_times(lookup), FieldType.TIME))
    return table_of(lookup.table, columns)


def selected(lookup: AsOf, table: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """The columns of a ``Row`` in their order."""
    names = [*(column for column, _ in lookup.match), *_times(lookup), *(field.name for field in lookup.fields)]
    return [table.c[name] for name in names]


def _times(lookup: AsOf) -> list[str]:
    return [column for column in (lookup.valid_at, lookup.known_at) if column is not None]


def as_rows(lookup: AsOf, kinds: Sequence[FieldType], rows: Sequence[Row]) -> Rows:
    """Rows of the database as the join takes them: keys in the form that a record has them in."""
    width = len(lookup.match)
    columns = list(zip(*rows, strict=True)) or [()] * (width + len(_times(lookup)) + len(lookup.fields))
    keys = [_key_column(kind, column) for kind, column in zip(kinds, columns, strict=False)]
    times = [
        np.array([np.nan if moment is None else moment for moment in column], np.float64)
        for column in columns[width : width + len(_times(lookup))]
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
    cast = str if kind is FieldType.STRING else float
    return [None if part is None else cast(part) for part in column]


def rows_between(
    connection: sa.Connection, lookup: AsOf, kinds: Sequence[FieldType], first_s: float, last_s: float
) -> Rows:
    """All rows that can count for events of which the first is at ``first_s`` and the last at ``last_s``."""
    table = table_of_lookup(lookup, kinds)
    if lookup.valid_at is None:
        return whole_table(connection, lookup, kinds)
    valid_at = table.c[lookup.valid_at]
    low = last_moment(first_s - lookup.resolution_s - lookup.lag_s - lookup.max_age_s)
    query = sa.select(*selected(lookup, table)).where(valid_at > low, valid_at <= last_moment(last_s))
    return as_rows(lookup, kinds, [tuple(row) for row in connection.execute(query)])


def whole_table(connection: sa.Connection, lookup: AsOf, kinds: Sequence[FieldType]) -> Rows:
    """All rows of the looked-up table."""
    query = sa.select(*selected(lookup, table_of_lookup(lookup, kinds)))
    return as_rows(lookup, kinds, [tuple(row) for row in connection.execute(query)])
