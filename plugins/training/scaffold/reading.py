"""Columns of a file or a table, with their types."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from scoring.contract.errors import ConfigurationError
from scoring.lookups.database import open_engine, reading
from training.scaffold.kinds import OF_TABLES, Forms, Typed, typed

SAMPLE_ROWS = 50_000
_DELIMITERS = ",;\t|"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.

    Attributes:
        whole: all of it was, rather than a sample.
        delimiter: between the values of a CSV file.
    """

    columns: tuple[Typed, ...]
    rows: int
    whole: bool
    delimiter: str = ","

    def named(self, name: str) -> Typed | None:
        """The column of that name, as field or as it stands in the file."""
        return next((each for each in self.columns if name in {each.name, each.column}), None)


def read_file(path: Path, zone: tzinfo, forms: Forms = None) -> Table:
    """All of a CSV or Parquet file.

    Args:
        forms: how values may be written (``kinds.typed``).

    Raises:
        ConfigurationError: it is neither, cannot be read, or has no rows.
    """
    try:
        raw, delimiter = (_parquet(path), ",") if path.suffix.lower() in {".parquet", ".pq"} else _csv(path)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigurationError(f"{path}: cannot be read as CSV or Parquet: {error}") from error
    return msgspec.structs.replace(_table(str(path), raw, zone, forms, whole=True), delimiter=delimiter)


def read_table(url: str, table: str, zone: tzinfo) -> Table:
    """A random sample of a table's rows.

    Raises:
        ConfigurationError: the table is not there, or has no rows.
        Unavailable: the database cannot be read now.
    """
    schema, _, bare = table.rpartition(".")
    engine = open_engine(url)
    try:
        with reading(engine, f"table {table!r}") as connection:
            reflected = sa.Table(bare, sa.MetaData(), autoload_with=connection, schema=schema or None)
            columns = [sa.column(each.name) if _is_sqlite_time(engine, each) else each for each in reflected.columns]
            query = sa.select(*columns).select_from(reflected).order_by(sa.func.random()).limit(SAMPLE_ROWS + 1)
            rows = connection.execute(query).fetchall()
    except exc.NoSuchTableError as error:
        raise ConfigurationError(f"the database has no table {table!r}") from error
    finally:
        engine.dispose()
    names = [each.name for each in reflected.columns]
    raw = {name: [row[place] for row in rows[:SAMPLE_ROWS]] for place, name in enumerate(names)}
    return _table(table, raw, zone, OF_TABLES, whole=len(rows) <= SAMPLE_ROWS)


def _is_sqlite_time(engine: sa.Engine, column: sa.Column[Any]) -> bool:
    """SQLite's times are text, to be looked into as such."""
    return engine.dialect.name == "sqlite" and isinstance(column.type, sa.DateTime | sa.Date)


def _table(what: str, raw: Mapping[str, Sequence[Any]], zone: tzinfo, forms: Forms, *, whole: bool) -> Table:
    rows = len(next(iter(raw.values()), ()))
    if not rows:
        raise ConfigurationError(f"{what}: there are no rows to guess from")
    names = _field_names(list(raw))
    columns = tuple(typed(names[column], column, values, zone, forms=forms) for column, values in raw.items())
    return Table(columns=columns, rows=rows, whole=whole)


def _csv(path: Path) -> tuple[dict[str, Sequence[Any]], str]:
    """The columns, and what stands between values."""
    text = path.read_text(encoding="utf-8-sig")
    dialect = csv.Sniffer().sniff(text[:65_536], delimiters=_DELIMITERS)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if row]
    if not rows:
        return {}, dialect.delimiter
    uneven = next((number for number, row in enumerate(rows, 1) if len(row) != len(rows[0])), None)
    if uneven is not None:
        raise ValueError(f"row {uneven} has {len(rows[uneven - 1])} values, the first has {len(rows[0])} names")
    values = zip(*rows[1:], strict=True) if len(rows) > 1 else ((),) * len(rows[0])
    return dict(zip(rows[0], values, strict=True)), dialect.delimiter


def _parquet(path: Path) -> dict[str, Sequence[Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415  a CSV file needs none of it

    table = pq.read_table(path)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _field_names(columns: Sequence[str]) -> dict[str, str]:
    """A name for each column that a field may have: letters, digits and underscores."""
    found: dict[str, str] = {}
    for column in columns:
        bare = re.sub(r"\W+", "_", column.strip(), flags=re.ASCII).strip("_") or "column"
        name = bare if bare[0].isalpha() else f"c_{bare}"
        number = 2
        while name in found.values():
            name, number = f"{bare}_{number}", number + 1
        found[column] = name
    return found
