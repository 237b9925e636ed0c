"""The same rides in every kind of source, and what is pulled of them."""

import csv
import gzip
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from scoring.contract.clock import rfc3339
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.contract.source import Files, Source
from scoring.sources.port import Pull

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
KINDS = {
    "trip_id": FieldType.STRING,
    "pickup": FieldType.TIME,
    "miles": FieldType.NUMBER,
    "shared": FieldType.BOOLEAN,
    "city": FieldType.STRING,
}
COLUMNS = (("trip_id", "id"), ("pickup", "pickup"), ("miles", "distance"), ("shared", "shared"), ("city", "city"))

Trip = dict[str, Any]


def trips(count: int = 200, first: datetime = START - timedelta(days=2)) -> list[Trip]:
    """Rides every four hours, some of them outside January; some values are missing."""
    return [
        {
            "id": f"t{number:04}",
            "pickup": first + timedelta(hours=4 * number, microseconds=number),
            "distance": None if number % 7 == 0 else number * 0.1,
            "shared": None if number % 5 == 0 else number % 2 == 0,
            "city": None if number % 11 == 0 else "Zürich" if number % 2 else 'New, "York"',
        }
        for number in range(count)
    ]


def pull_of(source: Source, **changes: Any) -> Pull:
    """January of a source of rides."""
    values: dict[str, Any] = {"source": source, "kinds": KINDS, "event_time": "pickup", "start": START, "end": END}
    return Pull(**{**values, **changes})


def files(url: str, **changes: Any) -> Source:
    """Rides in files."""
    values: dict[str, Any] = {"connection": "", "table": "", "columns": COLUMNS, "origin": Files(url=url)}
    return Source(**{**values, **changes})


def table(**changes: Any) -> Source:
    """Rides in a table."""
    return Source(**{"connection": "warehouse", "table": "trips", "columns": COLUMNS, **changes})


def fill_table(url: str, rows: Sequence[Trip]) -> None:
    """Make the table of rides."""
    metadata = sa.MetaData()
    made = sa.Table(
        "trips",
        metadata,
        sa.Column("id", sa.Text),
        sa.Column("pickup", sa.DateTime(timezone=True)),
        sa.Column("distance", sa.Double),
        sa.Column("shared", sa.Boolean),
        sa.Column("city", sa.Text),
    )
    engine = sa.create_engine(url)
    try:
        metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(sa.insert(made), [dict(row) for row in rows])
    finally:
        engine.dispose()


def write_parquet(path: Path, rows: Sequence[Trip], **types: Any) -> None:
    """A Parquet file of rides; ``types`` are other types of its columns."""
    usual = {
        "id": pa.string(),
        "pickup": pa.timestamp("us", tz="UTC"),
        "distance": pa.float64(),
        "shared": pa.bool_(),
        "city": pa.string(),
    }
    schema = pa.schema(list({**usual, **types}.items()))
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path, row_group_size=20)


def csv_text(rows: Sequence[Trip], delimiter: str = ",") -> bytes:
    """A CSV file of rides, times in RFC 3339."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "pickup", "distance", "shared", "city"], delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        shared = "" if row["shared"] is None else str(row["shared"]).lower()
        writer.writerow({**row, "pickup": rfc3339(row["pickup"]), "shared": shared})
    return text.getvalue().encode()


def write_csv(path: Path, rows: Sequence[Trip], delimiter: str = ",") -> None:
    """The same in a file, packed if its name ends so."""
    content = csv_text(rows, delimiter)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def by_id(columns: dict[str, Column]) -> list[tuple[Any, ...]]:
    """The rows in the order of their ids, missing values as None."""
    lists = [_with_none(column) for column in columns.values()]
    return sorted(zip(*lists, strict=True), key=lambda row: str(row[0]))


def _with_none(column: Column) -> list[Any]:
    if isinstance(column, np.ndarray):
        return [None if isnan(value) else value for value in column.tolist()]
    return list(column)


def expected(rows: Sequence[Trip]) -> list[tuple[Any, ...]]:
    """The rides of January as they must come back."""
    return [
        (
            row["id"],
            row["pickup"].timestamp(),
            row["distance"],
            None if row["shared"] is None else float(row["shared"]),
            row["city"],
        )
        for row in rows
        if START <= row["pickup"] < END
    ]
