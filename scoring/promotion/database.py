"""The ledger's database: connections, transactions, and errors by what the caller can do about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, make_url

from scoring.contract.errors import ConfigurationError, Unavailable

BUSY_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 10
# Execution option: how SQLite begins a transaction. A decision takes the write lock before it reads.
SQLITE_BEGIN = "baton_sqlite_begin"


def open_engine(url: str) -> sa.Engine:
    """An engine for the database at ``url``; nothing connects yet.

    A ledger is asked a few times a day, from processes that fork: each question opens a connection of its own.

    Raises:
        ConfigurationError: the URL is malformed, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        arguments = {"connect_timeout": CONNECT_TIMEOUT_S} if parsed.get_backend_name() == "postgresql" else {}
        return sa.create_engine(parsed, poolclass=sa.NullPool, isolation_level="READ COMMITTED", connect_args=arguments)
    except exc.ArgumentError as error:
        raise ConfigurationError(f"the ledger's URL cannot be read: {error}") from error
    except ImportError as error:
        raise ConfigurationError(f"the ledger's URL needs a driver that is not installed: {error}") from error


def require_file(engine: sa.Engine) -> None:
    """Raise ConfigurationError where a SQLite database is not there; connecting would make an empty one."""
    database = engine.url.database
    if engine.dialect.name == "sqlite" and database and not Path(database).exists():
        raise ConfigurationError(f"there is no ledger at {_shown(engine)}{_MIGRATE}")


@contextmanager
def database_errors(engine: sa.Engine) -> Iterator[None]:
    """Turn the database's errors into Baton's.

    Raises:
        Unavailable: the database cannot be reached or is locked; retry.
        ConfigurationError: it is there, but the ledger is not, or access is refused.
    """
    try:
        yield
    except exc.IntegrityError:
        raise
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        missing = "no such table" in str(error)
        kind = ConfigurationError if missing else Unavailable
        raise kind(f"the ledger at {_shown(engine)}: {_sentence(error)}{_MIGRATE if missing else ''}") from error
    except exc.ProgrammingError as error:
        raise ConfigurationError(f"the ledger at {_shown(engine)}: {_sentence(error)}{_MIGRATE}") from error


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction of one consistent read."""
    with database_errors(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def deciding(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction that writes."""
    with database_errors(engine), engine.connect() as connection:
        writer = connection.execution_options(**{SQLITE_BEGIN: "IMMEDIATE"})
        with writer.begin():
            if writer.dialect.name == "postgresql":
                # A host that vanished keeps its lock until TCP gives up; a decision takes milliseconds.
                writer.exec_driver_sql(f"set local lock_timeout = {BUSY_TIMEOUT_MS}")
            yield writer


def database_now(connection: sa.Connection) -> datetime:
    """The present by the database's clock, in UTC; on SQLite to the millisecond."""
    if connection.dialect.name == "sqlite":
        text = connection.execute(sa.text("select strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")).scalar_one()
        return datetime.fromisoformat(text).astimezone(UTC)
    # now() is when the transaction began; the decision is made when it is inserted.
    found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found.astimezone(UTC)


_MIGRATE = "; if the ledger was never made there, run `baton ledger migrate`"


def _sqlite_engine(url: URL) -> sa.Engine:
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # Python's driver would otherwise begin transactions by itself, and not for reads.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
        if cursor.execute("pragma journal_mode").fetchone()[0] != "wal":
            cursor.execute("pragma journal_mode = wal")
        # A decision that was reported must survive a loss of power.
        cursor.execute("pragma synchronous = full")
        cursor.execute("pragma foreign_keys = on")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"begin {connection.get_execution_options().get(SQLITE_BEGIN, 'deferred')}")

    return engine


def _shown(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _sentence(error: exc.StatementError | exc.TimeoutError) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
