"""Columns as Parquet files, written durably and in one step; equal columns make equal bytes."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoring.contract.encoder import Column, Floats
from scoring.contract.features import FieldType

_ONE_US = 1e6
_ARROW_TYPES = {
    FieldType.NUMBER: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.STRING: pa.string(),
    FieldType.TIME: pa.timestamp("us", tz="UTC"),
}


def write_columns(
    path: Path, columns: Mapping[str, Column], kinds: Mapping[str, FieldType], order: Sequence[str]
) -> None:
    """Write columns as Parquet, rows sorted by the columns ``order``, durable and in one step.

    Equal columns make equal bytes (with one version of pyarrow).
    """
    arrays = {name: _to_arrow(column, kinds[name]) for name, column in columns.items()}
    table = pa.table(arrays).sort_by([(name, "ascending") for name in order])
    write_in_one_step(path, lambda file: pq.write_table(table, file, compression="zstd"))


def write_in_one_step(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Make a file of what ``write`` writes, durable, read-only, and there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path) as partial:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o444)
        partial.replace(path)


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A new file beside ``path``, gone at the end; and so are those of tries that were killed."""
    for left in (path.with_suffix(".partial"), *path.parent.glob(f"{path.stem}-*.partial")):
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{path.stem}-", suffix=".partial", dir=path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as the files are."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def columns_in(content: bytes, kinds: Mapping[str, FieldType]) -> dict[str, Column]:
    """The columns of a file that ``write_columns`` wrote, from its bytes, as the encoder takes them."""
    table = pq.read_table(pa.BufferReader(content))
    return {name: _from_arrow(table.column(name), kinds[name]) for name in table.column_names}


def read_columns_of(path: Path, kinds: Mapping[str, FieldType]) -> dict[str, Column]:
    """The columns of a file that are of these types; for comparing, its content is not verified."""
    schema = pq.read_schema(path)
    names = [name for name in schema.names if name in kinds and schema.field(name).type == _ARROW_TYPES[kinds[name]]]
    table = pq.read_table(path, columns=names)
    return {name: _from_arrow(table.column(name), kinds[name]) for name in names}


def _to_arrow(column: Column, kind: FieldType) -> Any:
    if kind is FieldType.STRING:
        return pa.array(column, pa.string())
    numbers = np.asarray(column, dtype=np.float64)
    missing = np.isnan(numbers)
    if kind is FieldType.NUMBER:
        return pa.array(numbers, pa.float64(), mask=missing)
    whole = np.where(missing, 0.0, numbers)
    raw = whole != 0.0 if kind is FieldType.BOOLEAN else np.rint(whole * _ONE_US).astype(np.int64)
    return pa.array(raw, mask=missing).cast(_ARROW_TYPES[kind])


def _from_arrow(column: Any, kind: FieldType) -> Column:
    if kind is FieldType.STRING:
        return list(column.to_pylist())
    if kind is FieldType.TIME:
        return _floats(column.cast(pa.int64()).cast(pa.float64(), safe=False)) / _ONE_US
    return _floats(column.cast(pa.float64()))


def _floats(column: Any) -> Floats:
    return np.array(column.to_numpy(), dtype=np.float64)
