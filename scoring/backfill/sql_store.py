"""The rows of a backfill in a table of its own, in the database of predictions."""

import fcntl
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import sqlalchemy as sa

from scoring.backfill.database import MIGRATIONS, open_database
from scoring.backfill.outcomes import OFFSET, Outcomes
from scoring.backfill.plan import Plan, decode_plan
from scoring.backfill.refusals import Busy, OtherPlan, Superseded
from scoring.backfill.store import Finished, Kept, going_on, summed
from scoring.backfill.tables import backfills, chunks, rows_table, table_name
from scoring.contract.errors import BatonError
from scoring.database.connection import Database, database_now
from scoring.database.migrations import migrate

RUNNING, COMPLETE = "running", "complete"
_LOCKS = 0x0BA7
_ONE_US = 1e6


class SqlStore:
    """A ``Store`` in SQLite or PostgreSQL.

    Args:
        database: its tables that tell of backfills are there.
    """

    def __init__(self, database: Database, model: str, name: str) -> None:
        self._database = database
        self._own = (backfills.c.model == model) & (backfills.c.name == name)
        self._chunks = (chunks.c.model == model) & (chunks.c.name == name)
        self._identity = {"model": model, "name": name}
        self._title = f"backfill {name} of {model}"
        self._rows = rows_table(table_name(model, name))

    @classmethod
    def open(cls, url: str, model: str, name: str, *, pooled: bool = False) -> "SqlStore":
        """The store in the database at ``url``, whose tables are made where they are not there yet.

        Args:
            pooled: keep a connection open until ``close``.

        Raises:
            ConfigurationError: the URL is malformed, or its tables are of a newer version.
            Unavailable: the database cannot be reached.
        """
        database = open_database(url, pooled=pooled)
        migrate(database, MIGRATIONS)
        return cls(database, model, name)

    def close(self) -> None:
        """See ``Store``."""
        self._database.engine.dispose()

    @property
    def where(self) -> str:
        """The table's name."""
        return f"table {self._rows.name}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See ``Store``."""
        if self._database.engine.dialect.name == "sqlite":
            with file_lock(Path(f"{self._database.engine.url.database}.{self._rows.name}.lock"), self._title):
                yield
            return
        with self._database.errors(), closing(self._database.engine.connect()) as connection:
            key = [sa.cast(part, sa.Integer) for part in (_LOCKS, zlib.crc32(self._rows.name.encode()) - 2**31)]
            if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(*key))).scalar():
                raise Busy(f"{self._title}: another run of it is at work; wait for it, or end it")
            connection.commit()
            yield

    def begin(self, plan: Plan, actor: str, run: str) -> Plan:
        """See ``Store``."""
        with self._database.writing() as connection:
            before = connection.execute(sa.select(backfills.c.plan).where(self._own)).scalar()
            if before is not None:
                begun = going_on(self._title, decode_plan(before), plan)
                connection.execute(sa.update(backfills).where(self._own).values(run=run))
                return begun
            if sa.inspect(connection).has_table(self._rows.name):
                raise OtherPlan(f"{self._title}: its table {self._rows.name} is there already; give another --name")
            self._rows.create(connection)
            values = {
                "table_name": self._rows.name,
                "plan": plan.encode(),
                "actor": actor,
                "state": RUNNING,
                "run": run,
            }
            now = database_now(connection)
            connection.execute(
                sa.insert(backfills).values(**self._identity, **values, chunks=len(plan.chunks()), begun_at=now)
            )
        return plan

    def begun(self) -> Plan | None:
        """See ``Store``."""
        with self._database.reading() as connection:
            found = connection.execute(sa.select(backfills.c.plan).where(self._own)).scalar()
        return None if found is None else decode_plan(found)

    def done(self) -> dict[int, Kept]:
        """See ``Store``."""
        with self._database.reading() as connection:
            return self._done(connection)

    def _done(self, connection: sa.Connection, *only: sa.ColumnElement[bool]) -> dict[int, Kept]:
        columns = (chunks.c.chunk, chunks.c.rows, chunks.c.failures, chunks.c.digest)
        found = connection.execute(sa.select(*columns).where(self._chunks, *only)).all()
        return {number: Kept(rows=rows, failures=failed, digest=digest) for number, rows, failed, digest in found}

    def write(self, run: str, outcomes: Outcomes) -> Kept:
        """See ``Store``."""
        kept = Kept(rows=outcomes.rows, failures=outcomes.failures, digest=outcomes.digest)
        rows = rows_in(self._rows, outcomes)  # before the transaction, for SQLite lets one process write at a time
        with self._database.writing() as connection:
            self._require_own(connection, run)
            number = outcomes.chunk.number
            before = self._done(connection, chunks.c.chunk == number)
            if before:
                return before[number]
            insert(connection, self._rows, rows)
            values = {"rows": kept.rows, "failures": kept.failures, "digest": kept.digest}
            connection.execute(sa.insert(chunks).values(**self._identity, chunk=number, **values))
        return kept

    def _require_own(self, connection: sa.Connection, run: str) -> None:
        """Whoever took over waits for this transaction, and what comes later finds the other's run."""
        query = sa.select(backfills.c.run).where(self._own).with_for_update(read=True)
        if connection.execute(query).scalar() != run:
            raise Superseded(f"{self._title}: another run has taken over, or it was removed; this one ends")

    def finished(self) -> Finished | None:
        """See ``Store``."""
        columns = (backfills.c.rows, backfills.c.failures, backfills.c.digest)
        with self._database.reading() as connection:
            found = connection.execute(sa.select(*columns).where(self._own, backfills.c.state == COMPLETE)).first()
        return None if found is None else Finished(rows=found.rows, failures=found.failures, digest=found.digest)

    def finish(self, run: str) -> Finished:
        """See ``Store``; the rows are counted once more."""
        with self._database.writing() as connection:
            self._require_own(connection, run)
            found = summed(self._done(connection))
            counted = connection.execute(sa.select(sa.func.count()).select_from(self._rows)).scalar_one()
            if counted != found.rows:
                raise BatonError(
                    f"{self._title}: its table has {counted:,} rows, {found.rows:,} were written; somebody else "
                    "changed it: remove it and begin anew"
                )
            values = {"rows": found.rows, "failures": found.failures, "digest": found.digest}
            now = database_now(connection)
            connection.execute(sa.update(backfills).where(self._own).values(state=COMPLETE, finished_at=now, **values))
        return found


@contextmanager
def file_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock on a file, which goes away with it; raises Busy where another process holds it."""
    file = _locked(path, what)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who opened it before finds it gone, and makes another
        file.close()


def _locked(path: Path, what: str) -> BinaryIO:
    """The file of that name, locked. One that its last holder took away meanwhile is locked by nobody else."""
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Busy(f"{what}: another run of it is at work; wait for it, or end it") from None
        if _has_name(file, path):
            return file
        file.close()


def _has_name(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def rows_in(table: sa.Table, outcomes: Outcomes) -> list[tuple[Any, ...]]:
    """The rows of a chunk, as its table's columns follow one another."""
    return list(zip(*(_column(column.name, outcomes) for column in table.columns), strict=True))


def insert(connection: sa.Connection, table: sa.Table, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows in the database's fastest way."""
    names = [column.name for column in table.columns]
    if connection.dialect.name == "postgresql":
        cursor: Any = connection.connection.cursor()
        listed = ", ".join(f'"{name}"' for name in names)
        with cursor.copy(f'copy "{table.name}" ({listed}) from stdin') as copy:
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(names))
    if rows:
        connection.exec_driver_sql(f'insert into "{table.name}" values ({marks})', rows)  # noqa: S608  its own


def _column(name: str, outcomes: Outcomes) -> list[Any]:
    chunk, span = outcomes.chunk, outcomes.chunk.span
    if name == "event_time":
        return moments(outcomes.columns[name])
    if name == "place":
        return list(range(outcomes.rows))
    if name == "input_offset":
        return outcomes.columns.get(OFFSET, [None] * outcomes.rows)
    everywhere: Mapping[str, Any] = {
        "chunk": chunk.number,
        "version": span.version,
        "sequence": span.sequence,
        "manifest_digest": span.manifest_digest,
        "lookahead": span.lookahead,
        "input_partition": None if chunk.offsets is None else chunk.offsets.partition,
    }
    return [everywhere[name]] * outcomes.rows if name in everywhere else outcomes.columns[name]


def moments(seconds: list[float | None]) -> list[Any]:
    """Times as ``UtcDateTime`` keeps them on SQLite and PostgreSQL reads them; None where there is none."""
    numbers = np.array(seconds, dtype=np.float64)
    there = ~np.isnan(numbers)
    whole = np.trunc(np.where(there, numbers, 0.0))
    us = whole.astype(np.int64) * 1_000_000 + np.rint((np.where(there, numbers, 0.0) - whole) * _ONE_US).astype(
        np.int64
    )
    texts = np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC").tolist()
    return [text if known else None for text, known in zip(texts, there.tolist(), strict=True)]
