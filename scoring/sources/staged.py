"""What was pulled is kept, so that it is not pulled again.

::

    pulls/<key>.json                          what was pulled for that key, and when
    rows/<SHA-256 of the content>.parquet     the rows

The key stands for the source, the interval, the declared types, and the version of the code that reads. Rows are in an
order of their own, whatever order the source had them in, so that equal data are one file. Several processes may use
a folder at once.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.clock import Moment, from_epoch_s, rfc3339
from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest, digest_of
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import BatonError
from scoring.contract.features import FieldType
from scoring.parquet import columns_in, sync_folder, write_columns, write_in_one_step
from scoring.sources.clock import REAL, Clock
from scoring.sources.port import Pull, Reader

READING = 1
"""The version of the code that reads: counted up when a source would come back otherwise than before."""
_WRITING = "writing-"
_LEFT_BEHIND_S = 86_400.0


class StagedDamaged(BatonError):
    """Rows that were kept are gone, or are not what their name says; pull them again."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was pulled for a key.

    Attributes:
        source: its name, for people.
        sha256: of the file with the rows.
        newest: the last time among the rows; None where there is none.
        pulled_at: when the pull began.
        seconds: how long it took.
    """

    key: Digest
    source: str
    sha256: Digest
    rows: Annotated[int, msgspec.Meta(ge=0)]
    newest: Moment | None
    pulled_at: Moment
    seconds: float


class Difference(msgspec.Struct, frozen=True):
    """How rows differ from those that were there before; a changed row is one removed and one added."""

    added: int
    removed: int


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull came to.

    Attributes:
        reused: it had been pulled before.
        before: on ``refresh``, what was there; None where nothing was.
        difference: from what was there; None where nothing was, or nothing was pulled.
    """

    record: Record
    reused: bool
    before: Record | None = None
    difference: Difference | None = None

    @property
    def same(self) -> bool:
        """Whether the rows are what they were before; another version of pyarrow writes them as other bytes."""
        return self.reused or self.difference == Difference(added=0, removed=0)


decodable(Record)


def key_of(pull: Pull) -> str:
    """The SHA-256 of all that decides what a pull brings, and of nothing else."""
    moments = [None if moment is None else rfc3339(moment) for moment in (pull.start, pull.end, pull.known_by)]
    columns = sorted(pull.source.columns)
    what = [READING, pull.source.place, columns, sorted(pull.fields.items()), pull.event_time, moments]
    return digest_of(msgspec.json.encode(what, order="deterministic"))


class Staging:
    """A folder of what was pulled.

    Args:
        folder: made when it is needed.
    """

    def __init__(self, folder: Path, clock: Clock = REAL) -> None:
        self._folder = folder
        self._clock = clock

    def pull(self, pull: Pull, reader: Reader, *, refresh: bool = False) -> Staged:
        """Read a source, unless that was done before and what came of it is whole.

        Args:
            refresh: read it all the same, and compare.

        Raises:
            Unavailable, ConfigurationError: as ``Reader.read``.
        """
        key = key_of(pull)
        before = self._known(key)
        if before is not None and not refresh:
            with suppress(FileNotFoundError):
                os.utime(self.path(before))  # it is in use: pruning goes by that
            return Staged(record=before, reused=True)
        began, began_s = self._clock.now(), self._clock.s()
        columns = reader.read(pull)
        record = self._keep(pull, key, columns, began, began_s)
        if before is None:
            return Staged(record=record, reused=False)
        difference = Difference(added=0, removed=0)
        if before.sha256 != record.sha256:
            difference = compare(self.read(before, pull.fields), self.read(record, pull.fields))
        return Staged(record=record, reused=False, before=before, difference=difference)

    def read(self, record: Record, kinds: Mapping[str, FieldType]) -> dict[str, Column]:
        """The rows that were pulled, as the encoder takes them.

        Raises:
            StagedDamaged: the file is gone, or its content is another.
        """
        return columns_in(self._verified(record), kinds)

    def path(self, record: Record) -> Path:
        """The file with the rows."""
        return self._folder / "rows" / f"{record.sha256}.parquet"

    def _known(self, key: str) -> Record | None:
        """What was pulled before, if all of it is whole."""
        try:
            record = msgspec.json.decode(self._record_path(key).read_bytes(), type=Record)
            self._verified(record)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, StagedDamaged):
            return None
        return record if record.key == key else None

    def _record_path(self, key: str) -> Path:
        return self._folder / "pulls" / f"{key}.json"

    def _verified(self, record: Record) -> bytes:
        path = self.path(record)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StagedDamaged(f"{path}: cannot be read: {error.strerror}; pull it again") from error
        if digest_of(content) != record.sha256:
            raise StagedDamaged(f"{path}: its content is not the one that it is named by; pull it again")
        return content

    def _keep(self, pull: Pull, key: str, columns: Columns, began: datetime, began_s: float) -> Record:
        """Files that are there already are replaced all the same: they may be the damaged ones."""
        with self._writing() as folder:
            rows = folder / "rows.parquet"
            write_rows(rows, pull, columns)
            record = Record(
                key=key,
                source=pull.source.title,
                sha256=digest_of(rows.read_bytes()),
                rows=len(next(iter(columns.values()))),
                newest=_newest(pull, columns),
                pulled_at=began,
                seconds=self._clock.s() - began_s,
            )
            told = folder / "record.json"
            write_in_one_step(told, lambda file: file.write(msgspec.json.encode(record)))
            _move(rows, self.path(record))
            _move(told, self._record_path(key))
        return record

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """A folder of this pull's own; those of pulls that were killed go when they are a day old."""
        self._folder.mkdir(parents=True, exist_ok=True)
        old_s = self._clock.now().timestamp() - _LEFT_BEHIND_S
        for left in self._folder.glob(f"{_WRITING}*"):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < old_s:
                    shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_WRITING, dir=self._folder) as folder:
            yield Path(folder)


def write_rows(path: Path, pull: Pull, columns: Columns) -> None:
    """Rows by their time and then by all columns, columns by their names."""
    names = sorted(columns)
    order = sorted(names, key=lambda name: name != pull.event_time)
    write_columns(path, zeros_apart({name: columns[name] for name in names}), pull.fields, order)


def _newest(pull: Pull, columns: Columns) -> datetime | None:
    if pull.event_time is None or len(columns[pull.event_time]) == 0:
        return None
    return from_epoch_s(float(np.asarray(columns[pull.event_time], dtype=np.float64).max()))


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    path.replace(target)
    sync_folder(target.parent)


def zeros_apart(columns: Columns) -> dict[str, Column]:
    """Rows in an order in which -0.0 comes before 0.0: sorting takes the two for equal, a file does not."""
    numbers = [np.asarray(column) for column in columns.values() if isinstance(column, np.ndarray)]
    signs = [
        np.where(values == 0.0, ~np.signbit(values), 0) for values in numbers if np.signbit(values[values == 0]).any()
    ]
    if not signs:
        return dict(columns)
    places = np.lexsort(signs)
    return {
        name: column[places] if isinstance(column, np.ndarray) else [column[place] for place in places.tolist()]
        for name, column in columns.items()
    }


def compare(before: Columns, after: Columns) -> Difference:
    """How many rows are there that were not, and the other way round; a row may be there more than once."""
    first = len(next(iter(before.values())))
    codes = np.column_stack([_codes(before[name], after[name]) for name in sorted(after)])
    _, rows = np.unique(codes, axis=0, return_inverse=True)
    count = int(rows.max()) + 1 if len(rows) else 0
    change = np.bincount(rows[first:], minlength=count) - np.bincount(rows[:first], minlength=count)
    return Difference(added=int(change[change > 0].sum()), removed=int(-change[change < 0].sum()))


def _codes(before: Column, after: Column) -> npt.NDArray[np.int64]:
    """A whole number for each value of both, equal where the values are."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        both = np.concatenate([before, after]).astype(np.float64)
        return np.where(np.isnan(both), np.float64(np.nan), both).view(np.int64)
    places: dict[str | None, int] = {}
    words = [*before, *after]
    return np.fromiter((places.setdefault(word, len(places)) for word in words), np.int64, len(words))
