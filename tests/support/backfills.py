"""What a backfill has written, wherever it is kept."""

from collections.abc import Sequence
from typing import Any

import pyarrow.dataset as ds
import sqlalchemy as sa

from scoring.backfill.chunks import Place
from scoring.backfill.tables import rows_table, table_name

OUTPUT = tuple(column.name for column in rows_table("any").columns if column.name != "chunk")
"""All columns of the output; a file has its chunk in its name."""


def rows_of(place: Place, names: Sequence[str] = OUTPUT) -> list[tuple[Any, ...]]:
    """Some columns of all rows in their order, documents as text."""
    if place.folder is not None:
        table = ds.dataset(place.folder, format="parquet").to_table()
        return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))
    table = rows_table(table_name(place.model, place.name))
    documents = {"probabilities", "pass_through", "lookups"}
    columns = [sa.cast(table.c[name], sa.Text) if name in documents else table.c[name] for name in names]
    engine = sa.create_engine(place.url or "")
    try:
        with engine.connect() as connection:
            return [
                tuple(row) for row in connection.execute(sa.select(*columns).order_by(table.c.chunk, table.c.place))
            ]
    finally:
        engine.dispose()
