"""Sources that are tables of SQL databases."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from scoring.contract.encoder import Column
from scoring.lookups.database import Engines, reading, table_of
from scoring.lookups.rows import as_column
from scoring.sources.deadline import Deadline
from scoring.sources.port import Pull

FETCH_ROWS = 10_000


class SqlReader:
    """A ``Reader`` of tables."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def read(self, pull: Pull) -> dict[str, Column]:
        """The fields of the rows in ``[start, end)`` (see ``Reader``)."""
        return read_columns(self._engines, pull)


def read_columns(engines: Engines, pull: Pull) -> dict[str, Column]:
    """The fields of the rows in ``[start, end)``, in no particular order.

    Raises:
        Unavailable: the database cannot be reached, or takes longer than the source's timeout.
        ConfigurationError: the connection, the table or a column is unknown, or of another type.
    """
    deadline = Deadline(pull.what, pull.source.timeout_s)
    query, rows = _query(pull).execution_options(yield_per=FETCH_ROWS), list[Any]()
    with reading(engines.get(pull.source.connection), pull.what) as connection:
        _limit_statements(connection, pull.source.timeout_s)
        for some in connection.execute(query).partitions():
            rows.extend(some)
            deadline.check()
    values = zip(*rows, strict=True) if rows else ((),) * len(pull.source.columns)
    return {field: as_column(kind, column) for (field, kind), column in zip(pull.fields.items(), values, strict=True)}


def count_rows(engines: Engines, pull: Pull) -> int:
    """How many rows ``read_columns`` would read.

    Raises:
        Unavailable, ConfigurationError: as ``read_columns``.
    """
    query = sa.select(sa.func.count()).select_from(_query(pull).subquery())
    with reading(engines.get(pull.source.connection), pull.what) as connection:
        _limit_statements(connection, pull.source.timeout_s)
        return int(connection.execute(query).scalar_one())


def stream_rows(engines: Engines, pull: Pull) -> Iterator[dict[str, Any]]:
    """The same rows one by one in the order of their time, each a value by field; times as seconds since 1970.

    Raises:
        Unavailable, ConfigurationError: as ``read_columns``; who takes the rows may take as long as it needs.
    """
    fields = [*pull.fields]
    query = _query(pull)
    if pull.time_column is not None:
        query = query.order_by(sa.column(pull.time_column))
    with reading(engines.get(pull.source.connection), pull.what) as connection:
        for row in connection.execute(query.execution_options(yield_per=FETCH_ROWS)):
            yield dict(zip(fields, row, strict=True))


def _query(pull: Pull) -> sa.Select[Any]:
    columns = dict(pull.source.columns)
    table = table_of(pull.source.table, {columns[field]: kind for field, kind in pull.fields.items()})
    query = sa.select(*(table.c[column] for column in columns.values()))
    if pull.time_column is None:
        return query
    moment = table.c[pull.time_column]
    return query.where(moment >= pull.start, moment < pull.end)


def _limit_statements(connection: sa.Connection, limit_s: float) -> None:
    """Let the database stop as well, where it can be told to."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SET LOCAL statement_timeout = {max(1, int(limit_s * 1000))}"))
