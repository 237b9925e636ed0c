"""Reads records, their labels and what was looked up for them from databases, as the columns that the encoder takes."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from scoring.contract import asof, manifest
from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema, FieldType
from scoring.lookups.database import Engines, reading, table_of
from scoring.lookups.rows import as_column
from scoring.lookups.table import rows_between

FETCH_ROWS = 10_000


def read_columns(
    engines: Engines,
    source: manifest.Source,
    kinds: Mapping[str, FieldType],
    event_time: str,
    start: datetime,
    end: datetime,
) -> dict[str, Column]:
    """The source's fields of the events in ``[start, end)``, in no particular order.

    Args:
        kinds: type of each field of the source.

    Raises:
        Unavailable: the database cannot be reached.
        ConfigurationError: the connection, the table or a column is unknown, or of another type.
    """
    with reading(engines.get(source.connection), f"source {source.table!r}") as connection:
        rows = connection.execute(_query(source, kinds, event_time, start, end)).fetchall()
    values = zip(*rows, strict=True) if rows else ((),) * len(source.columns)
    return {field: as_column(kinds[field], column) for (field, _), column in zip(source.columns, values, strict=True)}


def stream_rows(
    engines: Engines,
    source: manifest.Source,
    kinds: Mapping[str, FieldType],
    event_time: str,
    start: datetime,
    end: datetime,
) -> Iterator[dict[str, Any]]:
    """The same events one by one in the order of their time, each a value by field; times as seconds since 1970."""
    fields = [field for field, _ in source.columns]
    query = _query(source, kinds, event_time, start, end)
    ordered = query.order_by(sa.column(dict(source.columns)[event_time])).execution_options(yield_per=FETCH_ROWS)
    with reading(engines.get(source.connection), f"source {source.table!r}") as connection:
        for row in connection.execute(ordered):
            yield dict(zip(fields, row, strict=True))


def _query(
    source: manifest.Source, kinds: Mapping[str, FieldType], event_time: str, start: datetime, end: datetime
) -> sa.Select[Any]:
    columns = dict(source.columns)
    table = table_of(source.table, {column: kinds[field] for field, column in source.columns})
    moment = table.c[columns[event_time]]
    selected = [table.c[column] for column in columns.values()]
    return sa.select(*selected).where(moment >= start, moment < end)


def look_up(engines: Engines, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
    """The looked-up columns by ``lookup.field`` as of each event: the join that a worker runs, over whole tables.

    Raises:
        Unavailable, ConfigurationError: as ``read_columns``.
    """
    found: dict[str, Column] = {}
    types = schema.column_types()
    event_times = np.asarray(columns[schema.event_time], dtype=np.float64)
    for lookup in schema.lookups if rows else ():
        kinds = [types[field] for _, field in lookup.match]
        with reading(engines.get(lookup.connection), f"lookup {lookup.name!r}") as connection:
            table = rows_between(connection, lookup, kinds, float(event_times.min()), float(event_times.max()))
        found.update(asof.join(lookup, columns, rows, schema.event_time, table))
    return found or {name: asof.empty_column(kind, 0) for name, kind in types.items() if "." in name}


def withhold_unknown(labels: Columns, label: str, event_times: Any, delay_s: float, known_by: datetime) -> Any:
    """The label column without what was not known by ``known_by``; a label is known ``delay_s`` after its event."""
    late = np.asarray(event_times) + delay_s > epoch_s(known_by)
    column = labels[label]
    if isinstance(column, np.ndarray):
        return np.where(late, np.nan, column)
    return [None if hidden else value for value, hidden in zip(column, late.tolist(), strict=True)]
