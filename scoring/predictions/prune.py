"""Deletes old rows, a bounded piece at a time: nobody who writes or reads waits long for it."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from scoring.database.connection import Database, database_now
from scoring.predictions import tables

PIECE_ROWS = 5_000
# SQLite's lock has no queue: who waits for it looks again every tenth of a second, and has to find it free once.
PAUSE_S = 0.15
# By table, the time that says how old a row is. The latest prediction of a key stays, however old it is.
_TIMES = {
    tables.predictions: tables.predictions.c.scored_at,
    tables.dead_letters: tables.dead_letters.c["at"],
    tables.unreadable: tables.unreadable.c.recorded_at,
}


class Old(msgspec.Struct, frozen=True):
    """Rows of a table that are older than ``before``."""

    table: str
    before: datetime
    rows: int


def old(database: Database, older_than: timedelta) -> list[Old]:
    """How many rows of each table are older than that, by the database's clock."""
    with database.reading() as connection:
        before = database_now(connection) - older_than
        return [Old(table.name, before, _count(connection, table, before)) for table in _TIMES]


def delete(database: Database, found: Old, pause: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Delete them, each piece in a transaction of its own; yields how many rows each had."""
    (table,) = (table for table in _TIMES if table.name == found.table)
    key, time = table.primary_key.columns, _TIMES[table]
    oldest = sa.select(*key).where(time < found.before).order_by(time).limit(PIECE_ROWS)
    query = table.delete().where(sa.tuple_(*key).in_(oldest))
    while True:
        with database.writing() as connection:
            deleted = connection.execute(query).rowcount
        if deleted:
            yield deleted
        if deleted < PIECE_ROWS:
            return
        if database.engine.dialect.name == "sqlite":
            pause(PAUSE_S)


def _count(connection: sa.Connection, table: sa.Table, before: datetime) -> int:
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(table).where(_TIMES[table] < before)).scalar_one()
    )
