"""One life of a backfill, which ends where it is planned.

The environment names the file with its ``Life``, since a process of a pool is told nothing else. There the points are
planted when this module is imported, which comes with the main module.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import sqlalchemy as sa

from scoring.backfill import parquet_store, sql_store
from scoring.backfill.chunks import ChunkScorer, Job
from scoring.backfill.outcomes import Outcomes
from scoring.backfill.plan import Chunk
from scoring.backfill.refusals import Busy
from scoring.backfill.run import run
from scoring.backfill.store import Kept
from scoring.backfill.tables import chunks
from scoring.parquet import write_in_one_step

LIFE = "BACKFILL_LIFE"
BUSY = 75
PATIENCE_S = 60.0
COMPLETION_FIRST, ROWS_FIRST, BORDER = "completion first", "rows first", "border"
BUGS = (COMPLETION_FIRST, ROWS_FIRST, BORDER)
"""A chunk is lost: noted as done before its rows are there. Scored twice: its rows are there before that is noted, and
come once more. Scored by another: the first chunk of a version falls to the one before."""
ROWS_KEPT = "rows.kept"
POINTS = ("write.before", "rows.before", "rows.after", "write.after")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a backfill is to do, and where it dies.

    Attributes:
        point, count: the passage at which it dies, counted in each process by itself; None lets it live.
        victim: ``run`` is the process that started all, and scores; ``helper`` is one that it started to score as well.
        bug: one of ``BUGS``.
    """

    job: Job
    processes: int
    point: str | None = None
    count: int = 1
    victim: str = "run"
    bug: str | None = None


def read_life() -> Life:
    """The life of this process."""
    return msgspec.json.decode(Path(os.environ[LIFE]).read_bytes(), type=Life)


def plant(life: Life) -> None:
    """Put the points into the stores."""
    passed = Counter[str]()

    def reach(point: str) -> None:
        passed[point] += 1
        of_pool = multiprocessing.parent_process() is not None  # which is known once the process has begun in earnest
        if of_pool != (life.victim == "helper"):
            await_helpers(life.victim)
        elif point == life.point and passed[point] == life.count:
            os.kill(os.getpid(), signal.SIGKILL)

    insert = sql_store.insert

    def inserting(connection: Any, table: Any, rows: Any) -> None:
        reach("rows.before")
        insert(connection, table, rows)
        reach("rows.after")

    def writing(path: Path, write: Callable[[BinaryIO], object]) -> None:
        def told(file: BinaryIO) -> None:
            reach("rows.before")
            write(file)
            reach("rows.after")

        write_in_one_step(path, told if path.name.startswith("part-") else write)

    sql_store.insert = inserting
    parquet_store.write_in_one_step = writing  # type: ignore[attr-defined]  # where that module finds it
    for store in (sql_store.SqlStore, parquet_store.ParquetStore):
        _plant_write(store, reach, life.bug)
    if life.bug == BORDER:
        _plant_border()


def await_helpers(victim: str) -> None:
    """In the process that started all, where a helper is to die: until one has, so that it comes to that."""
    children = multiprocessing.active_children() if victim == "helper" else []
    if children:
        ended = multiprocessing.connection.wait([child.sentinel for child in children], PATIENCE_S)
        assert ended, "no helper died in time"


def _plant_write(store: Any, reach: Callable[[str], None], bug: str | None) -> None:
    bugs = {COMPLETION_FIRST: completed_first, ROWS_FIRST: partial(rows_first, lambda: reach(ROWS_KEPT))}
    write: Any = bugs.get(bug or "", store.write)

    def writing(self: Any, run_id: str, outcomes: Outcomes) -> Kept:
        reach("write.before")
        kept: Kept = write(self, run_id, outcomes)
        reach("write.after")
        return kept

    store.write = writing


def completed_first(store: Any, _run: str, outcomes: Outcomes) -> Kept:
    """The planted bug: two transactions, of which the first says that the chunk is done."""
    kept = _note(store, outcomes)
    with store._database.writing() as connection:
        sql_store.insert(connection, store._rows, sql_store.rows_in(store._rows, outcomes))
    return kept


def rows_first(between: Callable[[], None], store: Any, _run: str, outcomes: Outcomes) -> Kept:
    """The planted bug: two transactions, of which the first adds the rows behind whatever there is of the chunk."""
    with store._database.writing() as connection:
        there = sa.select(sa.func.count()).where(store._rows.c.chunk == outcomes.chunk.number)
        before = connection.execute(there).scalar_one()
        rows = [(row[0], row[1] + before, *row[2:]) for row in sql_store.rows_in(store._rows, outcomes)]
        sql_store.insert(connection, store._rows, rows)
    between()
    return _note(store, outcomes)


def _note(store: Any, outcomes: Outcomes) -> Kept:
    kept = Kept(rows=outcomes.rows, failures=outcomes.failures, digest=outcomes.digest)
    values = {"chunk": outcomes.chunk.number, **msgspec.structs.asdict(kept)}
    with store._database.writing() as connection:
        connection.execute(chunks.insert().values(**store._identity, **values))
    return kept


def _plant_border() -> None:
    """The planted bug: one chunk at each border is of the version before."""
    made = ChunkScorer.outcomes

    def outcomes(self: ChunkScorer, chunk: Chunk) -> Outcomes:
        before = [span for span in self._job.plan.spans if span.end == chunk.start]
        return made(self, msgspec.structs.replace(chunk, span=before[0]) if before else chunk)

    ChunkScorer.outcomes = outcomes  # type: ignore[method-assign]  # that is how it is planted


def main() -> int:
    """Run the backfill; returns the exit status."""
    life = read_life()
    store = life.job.place.open()
    try:
        with store.lock():
            store.begin(life.job.plan, "somebody", life.job.run)
            run(life.job, store, life.processes, lambda _number, _kept: None)
    except Busy:
        return BUSY
    return 0


if LIFE in os.environ:
    plant(read_life())
