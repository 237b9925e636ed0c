"""Where predictions are kept for programs and people."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url

from scoring.contract.errors import ConfigurationError
from scoring.database.connection import Database
from scoring.database.migrations import Migrations, require_current
from scoring.predictions.tables import REVISION, VERSION_TABLE

MIGRATIONS = Migrations(
    scripts="scoring.predictions:migrations", revision=REVISION, version_table=VERSION_TABLE, lock=0x0BA7_0002
)
NAME = "predictions database"
REMEDY = "baton predictions migrate"


def open_database(url: str) -> Database:
    """The predictions' database, with connections that are kept open; nothing connects yet.

    Raises:
        ConfigurationError: the URL is malformed, its driver is not installed, or it is of another kind of database.
    """
    database = Database.open(url, NAME, REMEDY, pooled=True)
    if database.engine.driver not in {"pysqlite", "psycopg"}:
        kind = make_url(url).drivername
        raise ConfigurationError(
            f"the {NAME}'s URL is of {kind}; it can be on SQLite (sqlite:///…) or PostgreSQL (postgresql+psycopg://…)"
        )
    if database.engine.dialect.name == "postgresql":
        event.listen(database.engine, "connect", _require_unicode, insert=True)
        event.listen(database.engine, "connect", _read_times_in_utc)
    return database


def open_current(url: str) -> Database:
    """The predictions' database, with its tables.

    Raises:
        ConfigurationError: as ``open_database``; or the tables are not there at this version's revision.
        Unavailable: the database cannot be reached.
    """
    database = open_database(url)
    database.require_file()
    try:
        require_current(database, MIGRATIONS)
    except BaseException:
        database.engine.dispose()
        raise
    return database


def _require_unicode(connection: Any, _record: Any) -> None:
    """In another encoding most texts have no place, and those of a record's headers would stop the sink."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in {None, "UTF8"}:
        raise ConfigurationError(
            f"the {NAME} is encoded in {encoding}, which has no place for every text; make one "
            "with `create database … template template0 encoding 'UTF8'`"
        )


def _read_times_in_utc(connection: Any, _record: Any) -> None:
    """In another zone a time at the end of the calendar would be read as one of the year 10000, and refused."""
    connection.execute("set time zone 'UTC'")
    connection.commit()
