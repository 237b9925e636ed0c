"""Connections, transactions, and errors by what the caller can do about them."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, make_url

from scoring.contract.errors import ConfigurationError, Unavailable

BUSY_TIMEOUT_MS = 10_000
WAL_RETRY_S = 0.02
CONNECT_TIMEOUT_S = 10
# A PostgreSQL server whose host or network vanished is given up after half a minute, not when TCP would.
_VANISHED = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
# Execution option: how SQLite begins a transaction. What will write takes the write lock before it reads.
SQLITE_BEGIN = "baton_sqlite_begin"


class Database:
    """One of Baton's databases, on SQLite or PostgreSQL.

    Args:
        name: what it holds, for messages: ``ledger``.
        remedy: the command that makes its tables.
    """

    def __init__(self, engine: sa.Engine, name: str, remedy: str) -> None:
        self.engine = engine
        self.name = name
        self.remedy = remedy

    @classmethod
    def open(cls, url: str, name: str, remedy: str, *, pooled: bool = False) -> Self:
        """The database at a SQLAlchemy URL; nothing connects yet.

        Args:
            pooled: keep connections open, for who asks many times a second and never forks.

        Raises:
            ConfigurationError: the URL is malformed, or its driver is not installed.
        """
        try:
            return cls(_engine(make_url(url), pooled=pooled), name, remedy)
        except exc.ArgumentError as error:
            raise ConfigurationError(f"the {name}'s URL cannot be read: {error}") from error
        except ImportError as error:
            raise ConfigurationError(f"the {name}'s URL needs a driver that is not installed: {error}") from error

    @property
    def shown(self) -> str:
        """Name and URL, without the password."""
        return f"{self.name} at {self.engine.url.render_as_string(hide_password=True)}"

    def require_file(self) -> None:
        """Raise ConfigurationError where a SQLite database is not there; connecting would make an empty one."""
        database = self.engine.url.database
        if self.engine.dialect.name == "sqlite" and database and not Path(database).exists():
            raise ConfigurationError(f"there is no {self.shown}{self._missing}")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the database's errors into Baton's; a broken constraint stays IntegrityError.

        Raises:
            Unavailable: the database cannot be reached, is locked, or takes no writes during a failover; retry.
            ConfigurationError: it is there, but its tables are not, or access is refused.
        """
        try:
            yield
        except exc.IntegrityError:
            raise
        except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
            missing = "no such table" in str(error)
            kind = ConfigurationError if missing else Unavailable
            raise kind(f"the {self.shown}: {_sentence(error)}{self._missing if missing else ''}") from error
        except exc.ProgrammingError as error:
            raise ConfigurationError(f"the {self.shown}: {_sentence(error)}{self._missing}") from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in a transaction of one consistent read."""
        with self.errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that writes."""
        with self.errors(), self.engine.connect() as connection:
            writer = connection.execution_options(**{SQLITE_BEGIN: "IMMEDIATE"})
            with writer.begin():
                if writer.dialect.name == "postgresql":
                    # A host that vanished keeps its lock until TCP gives up; what Baton writes takes far less.
                    writer.exec_driver_sql(f"set local lock_timeout = {BUSY_TIMEOUT_MS}")
                yield writer

    @property
    def _missing(self) -> str:
        return f"; if it was never made there, run `{self.remedy}`"


def database_now(connection: sa.Connection) -> datetime:
    """The present by the database's clock, in UTC; on SQLite to the millisecond."""
    if connection.dialect.name == "sqlite":
        text = connection.execute(sa.text("select strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")).scalar_one()
        return datetime.fromisoformat(text).astimezone(UTC)
    # now() is when the transaction began; the decision is made when it is inserted.
    found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found.astimezone(UTC)


def _engine(url: URL, *, pooled: bool) -> sa.Engine:
    # A connection that was kept may have died since, with its server.
    pool: dict[str, Any] = {"pool_pre_ping": True} if pooled else {"poolclass": sa.NullPool}
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, pool)
    to_libpq = {"connect_timeout": CONNECT_TIMEOUT_S, **_VANISHED}
    arguments = to_libpq if url.get_backend_name() == "postgresql" else {}
    return sa.create_engine(url, isolation_level="READ COMMITTED", connect_args=arguments, **pool)


def _sqlite_engine(url: URL, pool: dict[str, Any]) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, **pool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # Python's driver would otherwise begin transactions by itself, and not for reads.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
        _use_wal(cursor)
        # What was reported as committed must survive a loss of power.
        cursor.execute("pragma synchronous = full")
        cursor.execute("pragma foreign_keys = on")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"begin {connection.get_execution_options().get(SQLITE_BEGIN, 'deferred')}")

    return engine


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a database that is new; beside a writer SQLite refuses that at once, whatever its busy timeout."""
    give_up = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while cursor.execute("pragma journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(WAL_RETRY_S)


def _sentence(error: exc.StatementError | exc.TimeoutError) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
