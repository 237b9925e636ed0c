"""The pipeline's folder (BATON_SNAPSHOT_DIR) as pruning sees it.

::

    snapshots/<model>/<SHA-256 of the content>.parquet
    sources/<model>/pulls/<key>.json              what was pulled of a source for an interval
    sources/<model>/rows/<SHA-256 of the content>.parquet    and its rows; several pulls may have the same
    <step>/<model>/<16 hexadecimal digits>/    what a run keeps for its later steps: staged, candidates, bundles, …
    <step>/<model>/.staging-…/                 left by a process that was killed while it made one of those

``training.snapshot``, ``training.pull`` and ``scoring.sources.staged`` write it. Anything else in it is left alone.
"""

import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from scoring.contract.clock import from_epoch_s
from scoring.contract.decoding import decodable

SNAPSHOTS, SOURCES = "snapshots", "sources"
_SNAPSHOT = re.compile(r"([0-9a-f]{64})\.parquet")
_RUN = re.compile(r"[0-9a-f]{16}|\.staging-[0-9a-f]+")
_KEY = re.compile(r"[0-9a-f]{64}\.json")
_MODEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class What(StrEnum):
    """The kinds of things that are pruned."""

    VERSION = "version"
    SNAPSHOT = "snapshot"
    RUN = "run"
    PULL = "pull"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may go.

    Attributes:
        name: the version's number, the snapshot's or the pulled rows' SHA-256, or the run folder's name.
        paths: below the pipeline's folder; none for a version.
        size_bytes: None where it cannot be told.
        snapshot: SHA-256 of the snapshot that a version was made from.
    """

    what: What
    model: str
    name: str
    changed_at: datetime
    size_bytes: int | None = None
    paths: tuple[str, ...] = ()
    snapshot: str | None = None


def models_in(folder: Path) -> set[str]:
    """The models that have something in the folder."""
    return {path.name for step in _folders(folder) for path in _folders(step) if _MODEL.fullmatch(path.name)}


def snapshots_in(folder: Path, model: str) -> list[Item]:
    """The model's snapshots."""
    found = [
        (match[1], path)
        for path in _entries(folder / SNAPSHOTS / model)
        if (match := _SNAPSHOT.fullmatch(path.name)) and path.is_file()
    ]
    return [_item(What.SNAPSHOT, model, name, [path], folder) for name, path in found]


class _PullOf(msgspec.Struct, frozen=True):
    """What a record of a pull says of its rows."""

    sha256: str


decodable(_PullOf)


def pulls_in(folder: Path, model: str) -> list[Item]:
    """The rows that were pulled for the model, each with the pulls that brought them; and pulls without rows."""
    place = folder / SOURCES / model
    parts: defaultdict[str, list[Path]] = defaultdict(list)
    for path in _entries(place / "rows"):
        if match := _SNAPSHOT.fullmatch(path.name):
            parts[match[1]].append(path)
    for path in _entries(place / "pulls"):
        if _KEY.fullmatch(path.name):
            parts[_rows_of(path)].append(path)
    return [_item(What.PULL, model, name, paths, folder) for name, paths in sorted(parts.items())]


def _rows_of(pull: Path) -> str:
    """The name of the rows; a record that cannot be read is a thing of its own, which nobody uses either."""
    try:
        return msgspec.json.decode(pull.read_bytes(), type=_PullOf).sha256
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return pull.stem


def runs_in(folder: Path, model: str) -> list[Item]:
    """The model's runs; what the steps of one left in several folders is as old as the youngest file of it."""
    parts: defaultdict[str, list[Path]] = defaultdict(list)
    for step in _folders(folder):
        for path in _folders(step / model) if step.name != SNAPSHOTS else []:
            if _RUN.fullmatch(path.name):
                parts[path.name].append(path)
    return [_item(What.RUN, model, name, paths, folder) for name, paths in sorted(parts.items())]


def delete(item: Item, folder: Path) -> str | None:
    """Delete an item's files unless something in them changed; why they were spared, or None.

    Files that are gone already are none to delete: an earlier try may have been killed half way.
    """
    paths = [path for name in item.paths if (path := folder / name).exists()]
    if paths and _changed_at(paths) > item.changed_at:
        return f"{item.model}: {item.what.value} {item.name} is in use again and is kept"
    try:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        return f"{item.model}: {item.what.value} {item.name} could not be deleted: {error}"
    return None


def freed_bytes(items: Sequence[Item], folder: Path) -> int:
    """What the disk gets back: a file counts once, and only where no link to it stays."""
    links: Counter[tuple[int, int]] = Counter()
    stats: dict[tuple[int, int], os.stat_result] = {}
    for stat in _stats(folder / name for item in items for name in item.paths):
        links[stat.st_dev, stat.st_ino] += 1
        stats[stat.st_dev, stat.st_ino] = stat
    return sum(stat.st_size for key, stat in stats.items() if links[key] >= stat.st_nlink)


def _item(what: What, model: str, name: str, paths: Sequence[Path], folder: Path) -> Item:
    return Item(
        what=what,
        model=model,
        name=name,
        changed_at=_changed_at(paths),
        size_bytes=sum(stat.st_size for stat in _stats(paths)),
        paths=tuple(str(path.relative_to(folder)) for path in sorted(paths)),
    )


def _changed_at(paths: Iterable[Path]) -> datetime:
    """When anything in them changed last; 1970 where nothing is there."""
    every = [inner for path in paths for inner in (path, *_below(path))]
    return from_epoch_s(max((stat.st_mtime for path in every if (stat := _stat(path))), default=0.0))


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """Of every file in ``paths`` and in the folders among them."""
    for path in paths:
        for inner in (path, *_below(path)):
            stat = _stat(inner)
            if stat is not None and (inner.is_symlink() or not inner.is_dir()):
                yield stat


def _below(path: Path) -> list[Path]:
    return [] if path.is_symlink() or not path.is_dir() else list(path.rglob("*"))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:  # a run in progress tidies up
        return None


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
