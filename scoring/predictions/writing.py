"""Writes what was read of the topics, with how far they were read, in one transaction.

The offset of a partition moves from what this writer knew to what it has read, or nothing is written: of two sinks
that read one partition, the one that comes second finds another offset there. So no row is ever doubled or left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from scoring.contract.errors import BatonError, ConfigurationError
from scoring.database.connection import Database
from scoring.database.types import sqlite_text
from scoring.predictions import tables
from scoring.predictions.database import open_current
from scoring.predictions.latest import newer_in_sql, newest_per_key
from scoring.predictions.rows import DeadLetterRow, PredictionRow, UnreadableRow

Row = PredictionRow | DeadLetterRow | UnreadableRow
_NAMES = PredictionRow.__struct_fields__
_INCOMING = "baton_latest_incoming"


class Partition(msgspec.Struct, frozen=True, order=True):
    """A partition of a topic; a topic that was deleted and made again has another id."""

    topic_id: str
    number: int
    topic: str


class Move(msgspec.Struct, frozen=True, order=True):
    """The next offset of a partition, from what it was to what it becomes."""

    partition: Partition
    expected: int
    next_offset: int


class Gap(msgspec.Struct, frozen=True):
    """Offsets from ``first_offset`` up to ``next_offset`` that are gone."""

    partition: Partition
    first_offset: int
    next_offset: int
    found_at: datetime


class Overtaken(BatonError):
    """Another sink has written the partition meanwhile; nothing was written. Read its offset anew."""


class Batch(msgspec.Struct, frozen=True):
    """What is written together."""

    moves: Sequence[Move]
    predictions: Sequence[PredictionRow] = ()
    dead_letters: Sequence[DeadLetterRow] = ()
    unreadable: Sequence[UnreadableRow] = ()


class Refused(BatonError):
    """The database is well, and does not take a value of the batch; nothing was written."""


class Tables:
    """The predictions' tables, as a sink writes them (see ``Tables.open``).

    Every method raises Unavailable when the database cannot be reached now, and ConfigurationError when the tables are
    not there.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the tables at a SQLAlchemy URL.

        Raises:
            ConfigurationError: the URL is wrong, or the tables are not there at this version's revision.
            Unavailable: the database cannot be reached.
        """
        return cls(open_current(url))

    def identity(self) -> UUID:
        """The UUID that the tables have had since they were made: the sinks that fill them are one group."""
        with self.database.reading() as connection:
            return UUID(connection.execute(sa.select(tables.identity.c.tables)).scalar_one())

    def begin(self, partition: Partition, first_offset: int) -> int:
        """The next offset of a partition; where it has none yet, it begins at ``first_offset``."""
        columns = tables.offsets.c
        place = (columns.topic_id == partition.topic_id) & (columns.topic_partition == partition.number)
        with self.database.writing() as connection:
            insert = _inserting(connection, tables.offsets).on_conflict_do_nothing()
            connection.execute(insert, _offset_row(partition, first_offset))
            return int(connection.execute(sa.select(columns.next_offset).where(place)).scalar_one())

    def write(self, batch: Batch) -> None:
        """Write a batch, all of it or nothing.

        Raises:
            Overtaken: another sink was faster.
            Refused: the database does not take one of its values.
            ConfigurationError: its rows are there already, though the offsets say that they are not.
            Unavailable: whether it was written is not known; ``begin`` tells.
        """
        with _refusals(self.database), self.database.writing() as connection:
            _move(connection, batch.moves)
            _append(connection, tables.predictions, batch.predictions)
            _append(connection, tables.dead_letters, batch.dead_letters)
            _append(connection, tables.unreadable, batch.unreadable)
            _replace_latest(connection, newest_per_key(batch.predictions))

    def note_gap(self, gap: Gap) -> None:
        """Put a gap on record and step over it.

        Raises:
            Overtaken: another sink was faster.
        """
        partition = gap.partition
        with self.database.writing() as connection:
            _move(connection, [Move(partition, gap.first_offset, gap.next_offset)])
            row = _offset_row(partition, gap.next_offset) | {"first_offset": gap.first_offset, "found_at": gap.found_at}
            connection.execute(tables.gaps.insert(), row)

    def close(self) -> None:
        """Let go of the connections."""
        self.database.engine.dispose()


@contextmanager
def _refusals(database: Database) -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError as error:
        reason = " ".join(str(error.orig).split())
        raise ConfigurationError(
            f"the {database.shown} has rows already that its sink_offsets say are still to come ({reason}); somebody "
            "changed rows or offsets by hand: put both back to what they were, or delete the rows from that offset on"
        ) from error
    except (sa.exc.DataError, sa.exc.StatementError, OverflowError, UnicodeEncodeError) as error:
        raise Refused(" ".join(str(getattr(error, "orig", None) or error).split())) from error


def _offset_row(partition: Partition, next_offset: int) -> dict[str, Any]:
    return {
        "topic": partition.topic,
        "topic_id": partition.topic_id,
        "topic_partition": partition.number,
        "next_offset": next_offset,
    }


def _move(connection: sa.Connection, moves: Sequence[Move]) -> None:
    columns = tables.offsets.c
    for move in sorted(moves):  # two sinks that share partitions lock them in one order
        place = (columns.topic_id == move.partition.topic_id) & (columns.topic_partition == move.partition.number)
        query = tables.offsets.update().where(place, columns.next_offset == move.expected)
        if connection.execute(query.values(next_offset=move.next_offset)).rowcount != 1:
            named = f"{move.partition.topic}/{move.partition.number}"
            raise Overtaken(f"another sink has written {named} from offset {move.expected} on")


def _append(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table.name, rows)
    else:
        _insert(connection, table.name, rows)


def _insert(connection: sa.Connection, name: str, rows: Sequence[Row]) -> None:
    """One statement for all rows, without a detour for each value."""
    columns = ", ".join(f'"{column}"' for column in rows[0].__struct_fields__)
    marks = ", ".join("?" * len(rows[0].__struct_fields__))
    values = [tuple(map(_bound, msgspec.structs.astuple(row))) for row in rows]
    connection.exec_driver_sql(f"insert into {name} ({columns}) values ({marks})", values)  # noqa: S608


def _bound(value: Any) -> Any:
    return sqlite_text(value) if isinstance(value, datetime) else value


def _copy(connection: sa.Connection, name: str, rows: Sequence[Row]) -> None:
    columns = ", ".join(f'"{column}"' for column in rows[0].__struct_fields__)
    statement = f"copy {name} ({columns}) from stdin"
    driver: Any = connection.connection.driver_connection
    with _driver_errors(connection, statement), driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(msgspec.structs.astuple(row))


@contextmanager
def _driver_errors(connection: sa.Connection, statement: str) -> Iterator[None]:
    """Turn errors of a driver that is used directly into what SQLAlchemy makes of them."""
    kinds = connection.dialect.loaded_dbapi.Error
    try:
        yield
    except kinds as error:
        raise sa.exc.DBAPIError.instance(statement, None, error, kinds, hide_parameters=True) from error


def _replace_latest(connection: sa.Connection, rows: Sequence[PredictionRow]) -> None:
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(_upsert(connection), list(map(msgspec.structs.asdict, rows)))
        return
    connection.exec_driver_sql(
        f"create temporary table if not exists {_INCOMING} (like {tables.latest.name}) on commit delete rows"
    )
    _copy(connection, _INCOMING, rows)
    incoming = sa.table(_INCOMING, *(sa.column(name) for name in _NAMES)).c
    in_order = sa.select(*(incoming[name] for name in _NAMES)).order_by(incoming.model, incoming.record_key)
    connection.execute(_upsert(connection, in_order))


def _upsert(connection: sa.Connection, of: sa.Select[Any] | None = None) -> sa.Executable:
    insert = _inserting(connection, tables.latest)
    if of is not None:
        insert = insert.from_select(_NAMES, of)
    return insert.on_conflict_do_update(
        index_elements=list(tables.latest.primary_key),
        set_={name: insert.excluded[name] for name in _NAMES},
        where=newer_in_sql(insert.excluded, tables.latest.c),
    )


def _inserting(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    made: postgresql.Insert | sqlite.Insert = (
        postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    )
    return made
