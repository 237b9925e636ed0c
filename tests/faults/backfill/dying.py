"""One life of a backfill, which ends where it is planned.

The environment names the file with its ``Life``, since a process of a pool is told nothing else. There the points are
planted when this module is imported, which comes with the main module.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from scoring.backfill import parquet_store, sql_store
from scoring.backfill.chunks import Job
from scoring.backfill.outcomes import Outcomes
from scoring.backfill.refusals import Busy
from scoring.backfill.run import run
from scoring.backfill.store import Kept
from scoring.backfill.tables import chunks
from scoring.parquet import write_in_one_step

LIFE = "BACKFILL_LIFE"
BUSY = 75
POINTS = ("write.before", "rows.before", "rows.after", "write.after")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a backfill is to do, and where it dies.

    Attributes:
        point, count: the passage at which it dies, counted in each process by itself; None lets it live.
        victim: ``self`` is the process that passes there, ``run`` the one that started all.
        bug: ``completion first`` notes that a chunk is done before its rows are there.
    """

    job: Job
    processes: int
    point: str | None = None
    count: int = 1
    victim: str = "self"
    bug: str | None = None


def read_life() -> Life:
    """The life of this process."""
    return msgspec.json.decode(Path(os.environ[LIFE]).read_bytes(), type=Life)


def plant(life: Life) -> None:
    """Put the points into the stores."""
    passed = dict.fromkeys(POINTS, 0)

    def reach(point: str) -> None:
        passed[point] += 1
        if point == life.point and passed[point] == life.count:
            of_pool = multiprocessing.parent_process() is not None
            os.kill(os.getppid() if life.victim == "run" and of_pool else os.getpid(), signal.SIGKILL)

    insert = sql_store.insert

    def inserting(connection: Any, table: Any, outcomes: Outcomes) -> None:
        reach("rows.before")
        insert(connection, table, outcomes)
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
        _plant_write(store, reach, completion_first=life.bug == "completion first")


def _plant_write(store: Any, reach: Callable[[str], None], *, completion_first: bool) -> None:
    write = store.write

    def writing(self: Any, run_id: str, outcomes: Outcomes) -> Kept:
        reach("write.before")
        kept: Kept = completed_first(self, outcomes) if completion_first else write(self, run_id, outcomes)
        reach("write.after")
        return kept

    store.write = writing


def completed_first(store: Any, outcomes: Outcomes) -> Kept:
    """The planted bug: two transactions, of which the first says that the chunk is done."""
    kept = Kept(rows=outcomes.rows, failures=outcomes.failures, digest=outcomes.digest)
    values = {"chunk": outcomes.chunk.number, **msgspec.structs.asdict(kept)}
    with store._database.writing() as connection:
        connection.execute(chunks.insert().values(**store._identity, **values))
    with store._database.writing() as connection:
        sql_store.insert(connection, store._rows, outcomes)
    return kept


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
