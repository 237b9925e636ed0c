"""The rows of a backfill as a folder of Parquet files, one for each chunk.

::

    _backfill.json        what was asked for, and by whom
    part-000000.parquet   the rows of a chunk, in its order; what is known of the chunk is in the file's own metadata
    _complete.json        what it comes to, once all chunks are there

A file appears as a whole or not at all, so that one that is there is done. Who reads the folder as a data set leaves
out what begins with ``_`` or ``.``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoring.backfill.outcomes import OFFSET, Outcomes
from scoring.backfill.plan import Plan, decode_plan
from scoring.backfill.refusals import Superseded
from scoring.backfill.sql_store import file_lock
from scoring.backfill.store import Finished, Kept, going_on, summed
from scoring.contract.decoding import decodable
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.parquet import sync_folder, write_in_one_step

BEGUN, FINISHED, LOCK = "_backfill.json", "_complete.json", ".lock"
_KEPT = b"baton"
_ONE_US = 1e6
_TIME = pa.timestamp("us", tz="UTC")
_TYPES = {
    "place": pa.int64(),
    "record_key": pa.string(),
    "event_time": _TIME,
    "score": pa.float64(),
    "decision": pa.bool_(),
    "label": pa.string(),
    "probabilities": pa.string(),
    "pass_through": pa.string(),
    "lookups": pa.string(),
    "reason": pa.string(),
    "detail": pa.string(),
    "version": pa.string(),
    "sequence": pa.int64(),
    "manifest_digest": pa.string(),
    "lookahead": pa.bool_(),
    "input_partition": pa.int64(),
    "input_offset": pa.int64(),
}


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What ``_backfill.json`` holds; ``run`` is whose it is now."""

    plan: str
    actor: str
    run: str


decodable(Begun)
Content = TypeVar("Content", bound=msgspec.Struct)


class ParquetStore:
    """A ``Store`` in a folder, which is made when the backfill begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def close(self) -> None:
        """See ``Store``; nothing is open."""

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See ``Store``."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--output {self._folder}: {error.strerror}") from error
        with file_lock(self._folder / LOCK, f"backfill in {self._folder}"):
            yield

    def begin(self, plan: Plan, actor: str, run: str) -> Plan:
        """See ``Store``."""
        begun = self._begun()
        if begun is None:
            if any(self._folder.glob("part-*.parquet")):
                raise ConfigurationError(f"--output {self._folder}: it holds files of something else; name another")
            begun = Begun(plan=plan.encode(), actor=actor, run=run)
        counting = going_on(f"backfill in {self._folder}", decode_plan(begun.plan), plan)
        self._tell(BEGUN, msgspec.structs.replace(begun, run=run))
        return counting

    def begun(self) -> Plan | None:
        """See ``Store``."""
        begun = self._begun()
        return None if begun is None else decode_plan(begun.plan)

    def _begun(self) -> Begun | None:
        return self._read(BEGUN, Begun)

    def done(self) -> dict[int, Kept]:
        """See ``Store``."""
        paths = sorted(self._folder.glob("part-*.parquet"))
        return {int(path.stem.removeprefix("part-")): _kept(path) for path in paths}

    def write(self, run: str, outcomes: Outcomes) -> Kept:
        """See ``Store``; two runs would write the same bytes."""
        self._require_own(run)
        path = self._folder / f"part-{outcomes.chunk.number:06}.parquet"
        if path.exists():
            return _kept(path)
        kept = Kept(rows=outcomes.rows, failures=outcomes.failures, digest=outcomes.digest)
        table = pa.table({name: _column(name, outcomes) for name in _TYPES})
        table = table.replace_schema_metadata({_KEPT: msgspec.json.encode(kept)})
        with _disk(path):
            write_in_one_step(path, lambda file: pq.write_table(table, file, compression="zstd"))
            sync_folder(self._folder)
        return kept

    def _require_own(self, run: str) -> None:
        begun = self._begun()
        if begun is None or begun.run != run:
            raise Superseded(f"backfill in {self._folder}: another run has taken over, or it was removed")

    def finished(self) -> Finished | None:
        """See ``Store``."""
        return self._read(FINISHED, Finished)

    def finish(self, run: str) -> Finished:
        """See ``Store``."""
        self._require_own(run)
        found = summed(self.done())
        self._tell(FINISHED, found)
        return found

    def _read(self, name: str, kind: type[Content]) -> Content | None:
        try:
            return msgspec.json.decode((self._folder / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError(f"{self._folder / name} cannot be read: {error}; name another folder") from error

    def _tell(self, name: str, content: msgspec.Struct) -> None:
        encoded = msgspec.json.format(msgspec.json.encode(content, order="sorted")) + b"\n"
        with _disk(self._folder / name):
            write_in_one_step(self._folder / name, lambda file: file.write(encoded))
            sync_folder(self._folder)


def _kept(path: Path) -> Kept:
    with _disk(path):
        metadata = pq.read_schema(path).metadata or {}
    if _KEPT not in metadata:
        raise ConfigurationError(f"{path}: it is no part of a backfill; move it away")
    return msgspec.json.decode(metadata[_KEPT], type=Kept)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise Unavailable(f"{path}: {error}") from error


def _column(name: str, outcomes: Outcomes) -> Any:
    chunk, span, rows = outcomes.chunk, outcomes.chunk.span, outcomes.rows
    everywhere: dict[str, Any] = {
        "version": span.version,
        "sequence": span.sequence,
        "manifest_digest": span.manifest_digest,
        "lookahead": span.lookahead,
        "input_partition": None if chunk.offsets is None else chunk.offsets.partition,
    }
    kind = _TYPES[name]
    if name in everywhere:
        return pa.array([everywhere[name]] * rows, kind)
    if name == "place":
        return pa.array(range(rows), kind)
    if name == "event_time":
        seconds = np.array(outcomes.columns[name], dtype=np.float64)
        missing = np.isnan(seconds)
        return pa.array(np.rint(np.where(missing, 0.0, seconds) * _ONE_US).astype(np.int64), kind, mask=missing)
    return pa.array(
        outcomes.columns.get(OFFSET, [None] * rows) if name == "input_offset" else outcomes.columns[name], kind
    )
