"""Questions to the predictions' tables."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Self

import msgspec
import sqlalchemy as sa

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.errors import ContractError
from scoring.database.connection import Database
from scoring.predictions import tables
from scoring.predictions.database import open_current
from scoring.predictions.keys import asked_key
from scoring.predictions.stored import (
    Page,
    StoredDeadLetter,
    StoredPrediction,
    stored_dead_letter,
    stored_prediction,
)

MAXIMUM_PARTITION = 2**31 - 1
MAXIMUM_OFFSET = 2**63 - 1
_Partition = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_PARTITION)]
_Offset = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_OFFSET)]
_DOCUMENTS = {"headers", "probabilities", "pass_through", "lookups"}


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last row of a page, by what rows are ordered by."""

    scored_at: Moment
    input_offset: _Offset
    topic_id: Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*\Z")]
    topic_partition: _Partition
    topic_offset: _Offset


decodable(_Cursor)

_history = tables.predictions.c
_ORDER = tuple(_history[name] for name in _Cursor.__struct_fields__)


class Predictions:
    """Reads predictions and dead letters from their tables (see ``Predictions.open``); safe for many threads.

    Every method raises Unavailable when the database cannot be reached.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the tables at a SQLAlchemy URL. Connections are kept, so a process that forks opens them afterwards.

        Raises:
            ConfigurationError: the URL is wrong, or the tables are not there at this version's revision.
            Unavailable: the database cannot be reached.
        """
        return cls(open_current(url))

    def close(self) -> None:
        """Let go of the connections that are not in use."""
        self._database.engine.dispose()

    def latest(self, model: str, key: str) -> StoredPrediction | None:
        """The prediction of ``model`` that counts for a key, or None.

        Args:
            key: as text; where it is none, as ``keys.key_text`` writes it.
        """
        columns = tables.latest.c
        query = _all_of(tables.latest).where(columns.model == _text(model), columns.record_key == _text(asked_key(key)))
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else stored_prediction(row)

    def history(self, model: str, key: str, *, before: str | None = None, limit: int = 100) -> Page:
        """All predictions of ``model`` for a key, newest first, ``limit`` at a time.

        They are in the order of ``scored_at``, then of the inputs' offsets. New ones move no page: a page holds what
        follows the one before it.

        Args:
            key: as for ``latest``.
            before: the page before's ``before``; None for the newest.

        Raises:
            ContractError: no page has such a ``before``.
        """
        query = _all_of(tables.predictions).where(
            _history.model == _text(model), _history.record_key == _text(asked_key(key))
        )
        if before is not None:
            query = query.where(sa.tuple_(*_ORDER) < _values(_read_cursor(before)))
        query = query.order_by(*(column.desc() for column in _ORDER)).limit(limit + 1)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        more = len(rows) > limit > 0
        return Page(
            predictions=tuple(map(stored_prediction, rows[:limit])),
            before=_write_cursor(rows[limit - 1]) if more else None,
        )

    def of_input(self, topic: str, partition: int, offset: int) -> list[StoredPrediction]:
        """The predictions of an input record, newest first.

        There is one at the most, except: under at-least-once delivery a record may have been scored twice; and of
        topics of one name that were deleted and made again each has had that offset.

        Args:
            topic: the name or the id of the input topic.
        """
        query = _of_input(tables.predictions, topic, partition, offset)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(*(column.desc() for column in _ORDER))).mappings()
            return [stored_prediction(row) for row in rows]

    def dead_letters_of_input(self, topic: str, partition: int, offset: int) -> list[StoredDeadLetter]:
        """The dead letters of an input record, newest first; as ``of_input``."""
        columns = tables.dead_letters.c
        query = _of_input(tables.dead_letters, topic, partition, offset)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(columns["at"].desc(), columns.topic_offset.desc())).mappings()
            return [stored_dead_letter(row) for row in rows]

    def predictions_at(self, topic: str, partition: int, offset: int) -> list[StoredPrediction]:
        """The prediction at a place of its own topic; one more for each earlier topic of the same name, newest first.

        Args:
            topic: the name or the id of the topic of predictions.
        """
        with self._database.reading() as connection:
            query = _at(tables.predictions, _ids(connection, topic), partition, offset)
            rows = connection.execute(query.order_by(*(column.desc() for column in _ORDER))).mappings()
            return [stored_prediction(row) for row in rows]

    def dead_letters_at(self, topic: str, partition: int, offset: int) -> list[StoredDeadLetter]:
        """The dead letter at a place of its own topic; as ``predictions_at``."""
        with self._database.reading() as connection:
            query = _at(tables.dead_letters, _ids(connection, topic), partition, offset)
            rows = connection.execute(query.order_by(tables.dead_letters.c["at"].desc())).mappings()
            return [stored_dead_letter(row) for row in rows]


def _ids(connection: sa.Connection, topic: str) -> list[str]:
    """A topic's id, or all ids that the sink has met under its name."""
    known, asked = tables.offsets.c, _text(topic)
    met = connection.execute(sa.select(known.topic_id).where(known.topic == asked).distinct()).scalars()
    return [asked, *met]


def _at(table: sa.Table, ids: Sequence[str], partition: int, offset: int) -> sa.Select[Any]:
    """By the primary key."""
    columns = table.c
    if not (0 <= partition <= MAXIMUM_PARTITION and 0 <= offset <= MAXIMUM_OFFSET):
        return _all_of(table).where(sa.false())
    return _all_of(table).where(
        columns.topic_id.in_(ids),
        columns.topic_partition == partition,
        columns.topic_offset == offset,
    )


def _all_of(table: sa.Table) -> sa.Select[Any]:
    """All columns, documents as their text."""
    texts = (sa.cast(c, sa.Text).label(c.name) if c.name in _DOCUMENTS else c for c in table.c)
    return sa.select(*texts)


def _of_input(table: sa.Table, topic: str, partition: int, offset: int) -> sa.Select[Any]:
    columns = table.c
    named = sa.or_(columns.input_topic == _text(topic), columns.input_topic_id == _text(topic))
    if not (0 <= partition <= MAXIMUM_PARTITION and 0 <= offset <= MAXIMUM_OFFSET):
        return _all_of(table).where(sa.false())
    return _all_of(table).where(columns.input_offset == offset, columns.input_partition == partition, named)


def _text(asked: str) -> str:
    """A text that the database can be asked for; what it cannot hold becomes something that is in no table."""
    return asked.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _values(cursor: _Cursor) -> sa.Tuple:
    return sa.tuple_(*(sa.literal(getattr(cursor, column.name), column.type) for column in _ORDER))


def _write_cursor(row: sa.RowMapping) -> str:
    found = _Cursor(*(row[column.name] for column in _ORDER))
    return base64.urlsafe_b64encode(msgspec.json.encode(found)).decode().rstrip("=")


def _read_cursor(text: str) -> _Cursor:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ContractError(f"no page of a history has {text[:100]!r} as its `before`; begin without it") from error
