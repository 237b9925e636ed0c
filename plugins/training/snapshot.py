"""Snapshots: the training data of one pull, immutable Parquet files that are named by the SHA-256 of their content."""

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.parquet import columns_in, sync_folder
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.errors import SnapshotDamaged
from training.results import Pulled, RunRequest, SnapshotRef


def snapshot(definition: ModelDefinition, request: RunRequest, settings: Settings, pulled: Pulled) -> SnapshotRef:
    """Put the pulled rows into the store (see ``training.pipeline``)."""
    staged = Path(pulled.path)
    sha256 = digest_of(_read(staged))
    folder = settings.need_snapshot_dir() / "snapshots" / definition.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sha256}.parquet"
    reused = _make_young(path) and _holds(path, sha256)
    if not reused:
        _put(staged, path)
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


def _holds(path: Path, sha256: str) -> bool:
    """Whether a file of the store is what its name says; one that was damaged is put there anew."""
    try:
        return digest_of(path.read_bytes()) == sha256
    except OSError:
        return False


def _put(staged: Path, path: Path) -> None:
    """Give the staged file its name in one step, whatever is there: equal content, or a damaged one."""
    temporary = staged.with_name(f"{staged.name}.{uuid4().hex}")
    temporary.hardlink_to(staged)
    temporary.replace(path)
    # Where both are the same file already, the first name stays.
    temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_snapshot(ref: SnapshotRef, kinds: Mapping[str, FieldType]) -> dict[str, Column]:
    """The columns of a snapshot as the encoder takes them.

    Raises:
        SnapshotDamaged: the file is missing, or its content is not the one that it is named by.
    """
    return columns_in(verified_bytes(ref), kinds)


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
