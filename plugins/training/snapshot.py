"""Snapshots: the training data of one pull, immutable Parquet files that are named by the SHA-256 of their content."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column, Floats
from scoring.contract.features import FieldType
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.errors import SnapshotDamaged
from training.results import Pulled, RunRequest, SnapshotRef

_ONE_US = 1e6
_ARROW_TYPES = {
    FieldType.NUMBER: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.STRING: pa.string(),
    FieldType.TIME: pa.timestamp("us", tz="UTC"),
}


def snapshot(definition: ModelDefinition, request: RunRequest, settings: Settings, pulled: Pulled) -> SnapshotRef:
    """Put the pulled rows into the store (see ``training.pipeline``)."""
    staged = Path(pulled.path)
    sha256 = digest_of(_read(staged))
    folder = settings.need_snapshot_dir() / "snapshots" / definition.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sha256}.parquet"
    reused = _make_young(path)
    if not reused:
        _link(staged, path)
    return SnapshotRef(
        path=str(path),
        sha256=sha256,
        start=request.start,
        end=request.end,
        rows=pulled.rows,
        labels_missing=pulled.labels_missing,
        labels_not_yet_known=pulled.labels_not_yet_known,
        reused=reused,
    )


def _make_young(path: Path) -> bool:
    """Whether the store holds the file; pruning then spares it, for a run in progress needs it."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _link(staged: Path, path: Path) -> None:
    """Give the staged file its name in one step; who comes second finds the same content there."""
    with suppress(FileExistsError):
        path.hardlink_to(staged)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_columns(path: Path, columns: Mapping[str, Column], kinds: Mapping[str, FieldType], order: list[str]) -> None:
    """Write columns as Parquet, rows sorted by the columns ``order``, durable and in one step.

    Equal columns make equal bytes (with one version of pyarrow).
    """
    arrays = {name: _to_arrow(column, kinds[name]) for name, column in columns.items()}
    table = pa.table(arrays).sort_by([(name, "ascending") for name in order])
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path) as partial:
        with partial.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
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


def read_snapshot(ref: SnapshotRef, kinds: Mapping[str, FieldType]) -> dict[str, Column]:
    """The columns of a snapshot as the encoder takes them.

    Raises:
        SnapshotDamaged: the file is missing, or its content is not the one that it is named by.
    """
    table = pq.read_table(pa.BufferReader(verified_bytes(ref)))
    return {name: _from_arrow(table.column(name), kinds[name]) for name in table.column_names}


def read_columns_of(path: Path, kinds: Mapping[str, FieldType]) -> dict[str, Column]:
    """The columns of another snapshot that are of these types; for comparing, its content is not verified."""
    schema = pq.read_schema(path)
    names = [name for name in schema.names if name in kinds and schema.field(name).type == _ARROW_TYPES[kinds[name]]]
    table = pq.read_table(path, columns=names)
    return {name: _from_arrow(table.column(name), kinds[name]) for name in names}


def verified_bytes(ref: SnapshotRef) -> bytes:
    """The content of a snapshot's file.

    Raises:
        SnapshotDamaged: as ``read_snapshot``.
    """
    content = _read(Path(ref.path))
    if digest_of(content) != ref.sha256:
        raise SnapshotDamaged(f"snapshot {ref.path}: its content is not the one that it is named by; pull it again")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SnapshotDamaged(f"snapshot {path}: cannot be read: {error.strerror}; pull it again") from error


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
