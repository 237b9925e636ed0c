"""A looked-up table in SQL: which columns are read, and its rows as the join takes them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from scoring.contract.asof import Rows
from scoring.contract.features import FieldType
from scoring.contract.lookup import AsOf
from scoring.lookups.database import last_moment, table_of
from scoring.lookups.rows import as_rows, times_of


def table_of_lookup(lookup: AsOf, kinds: Sequence[FieldType]) -> sa.TableClause:
    """The looked-up table with the columns that count.

    Args:
        kinds: types of the record's fields that are matched, in the order of ``AsOf.match``.
    """
    columns = {field.name: field.type for field in lookup.fields}
    columns.update({column: kind for (column, _), kind in zip(lookup.match, kinds, strict=True)})
    columns.update(dict.fromkeys(times_of(lookup), FieldType.TIME))
    return table_of(lookup.table, columns)


def selected(lookup: AsOf, table: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """The columns of a ``Row`` in their order."""
    names = [*(column for column, _ in lookup.match), *times_of(lookup), *(field.name for field in lookup.fields)]
    return [table.c[name] for name in names]


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
