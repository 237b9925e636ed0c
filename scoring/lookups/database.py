"""Databases that records, labels and looked-up values are read from, through SQLAlchemy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from scoring.contract.clock import EPOCH, epoch_s
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import FieldType

CONNECT_TIMEOUT_S = 5
SILENCE_TIMEOUT_MS = 30_000


def open_engine(url: str, *, statement_timeout_ms: int | None = None) -> sa.Engine:
    """An engine that connects when it is used and reads times in UTC.

    Args:
        statement_timeout_ms: how long PostgreSQL may take for one statement; None is as long as it takes.

    Raises:
        ConfigurationError: the URL is malformed, or names a database whose driver is not installed.
    """
    try:
        backend = sa.make_url(url).get_backend_name()
        arguments = _connect_arguments(backend, statement_timeout_ms or 0)
        return sa.create_engine(url, pool_pre_ping=backend != "sqlite", connect_args=arguments)
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(f"database URL: {error}") from error


def _connect_arguments(backend: str, statement_timeout_ms: int) -> dict[str, Any]:
    if backend == "postgresql":
        options = f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}"  # 0 is no limit
        return {"connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": SILENCE_TIMEOUT_MS, "options": options}
    if backend == "sqlite":
        return {"timeout": CONNECT_TIMEOUT_S}
    return {}


@contextmanager
def reading(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """A connection to read with; a database's errors become Baton's.

    Args:
        what: names the connection and table in messages.

    Raises:
        Unavailable: the database cannot be reached, is locked, or took too long.
        ConfigurationError: the database refuses the query: a table or column is not there, or of another type.
    """
    try:
        with engine.connect() as connection:
            yield connection
    except exc.DBAPIError as error:
        raise _translated(error, what) from error
    except exc.TimeoutError as error:
        raise Unavailable(f"{what}: no free connection to the database; retry later") from error
    except ValueError as error:
        raise ConfigurationError(f"{what}: a value cannot be read as what it is declared to be: {error}") from error


def _translated(error: exc.DBAPIError, what: str) -> Exception:
    outage = error.connection_invalidated or isinstance(error, (exc.OperationalError, exc.InterfaceError))
    if outage and "no such " not in str(error.orig):  # SQLite calls a missing table operational
        return Unavailable(f"{what}: the database cannot be read now: {error.orig}")
    return ConfigurationError(f"{what}: the database refuses the query; check table, columns and types: {error.orig}")


class Moment(sa.types.TypeDecorator[float]):
    """A column of times as seconds since 1970. A naive time in the database is UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  SQLAlchemy's signature
        """A datetime is bound as it is in UTC; SQLite keeps that without its offset."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> float | None:  # noqa: ARG002  SQLAlchemy's signature
        """Seconds since 1970."""
        if value is None or isinstance(value, float):
            return value
        if isinstance(value, datetime):
            return epoch_s(value if value.tzinfo is not None else value.replace(tzinfo=UTC))
        return epoch_s(datetime.combine(value, time(), UTC)) if isinstance(value, date) else float(value)


def table_of(name: str, columns: dict[str, FieldType]) -> sa.TableClause:
    """The table ``name`` (``schema.name`` where it needs one) with the columns that are read, by their types."""
    schema, _, bare = name.rpartition(".")
    parts = [sa.column(column, Moment() if kind is FieldType.TIME else None) for column, kind in columns.items()]
    return sa.table(bare, *parts, schema=schema or None)


Connections = Callable[[str], str]


class Engines:
    """The engines by connection name, each opened when it is first used (see ``open_engine``)."""

    def __init__(self, connections: Connections, *, statement_timeout_ms: int | None = None) -> None:
        self._connections = connections
        self._statement_timeout_ms = statement_timeout_ms
        self._engines: dict[str, sa.Engine] = {}

    def get(self, name: str) -> sa.Engine:
        """The engine of the connection ``name``.

        Raises:
            ConfigurationError: there is no such connection.
        """
        if name not in self._engines:
            url = self._connections(name)
            self._engines[name] = open_engine(url, statement_timeout_ms=self._statement_timeout_ms)
        return self._engines[name]

    def close(self) -> None:
        """Closes all connections."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()


_ONE_US = 1_000_000
_LATEST_US = int(epoch_s(datetime.max.replace(tzinfo=UTC))) * _ONE_US
_EARLIEST_US = int(epoch_s(datetime.min.replace(tzinfo=UTC))) * _ONE_US


def last_moment(seconds: float) -> datetime:
    """The latest moment, to the microsecond, whose seconds since 1970 as a float are not above ``seconds``.

    So a comparison in SQL includes exactly the rows that the same comparison of floats includes.
    """
    us = round(seconds * _ONE_US)
    while (us + 1) / _ONE_US <= seconds:
        us += 1
    while us / _ONE_US > seconds:
        us -= 1
    return EPOCH + timedelta(microseconds=min(max(us, _EARLIEST_US), _LATEST_US))
