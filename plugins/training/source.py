"""What is done with records that were read: values are looked up for them, and labels withheld from them."""

from datetime import datetime
from typing import Any

import numpy as np

from scoring.contract import asof
from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema
from scoring.lookups.database import Engines, reading
from scoring.lookups.table import rows_between


def look_up(engines: Engines, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
    """The looked-up columns by ``lookup.field`` as of each event: the join that a worker runs, over whole tables.

    Raises:
        Unavailable: a database cannot be reached.
        ConfigurationError: a connection, table or column is unknown, or of another type.
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
