"""Predictions and dead letters as records of their topics, for tests of the tables that hold them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter, Reason
from scoring.contract.prediction import Prediction
from scoring.database.connection import Database
from scoring.predictions import tables
from scoring.predictions.rows import dead_letter_row, prediction_row, unreadable_row
from scoring.predictions.stored import (
    Headers,
    Record,
    StoredDeadLetter,
    StoredPrediction,
    StoredUnreadable,
    stored_dead_letter,
    stored_prediction,
    stored_unreadable,
)
from scoring.predictions.writing import Batch, Move, Partition, Tables

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PLACE = Position(topic="small.predictions", topic_id="own-id", partition=0, offset=0)
INPUT = Position(topic="small.input", topic_id="input-id", partition=0, offset=0)
LETTERS = Position(topic="small.dead-letters", topic_id="letters-id", partition=0, offset=0)


def moved(place: Position, **changes: Any) -> Position:
    """The same place with another offset, partition or topic."""
    return msgspec.structs.replace(place, **changes)


def prediction(score: float = 0.5, **changes: Any) -> Prediction:
    """A prediction of the model ``small``."""
    made = Prediction(
        model="small",
        version="1",
        sequence=1,
        manifest_digest="ab" * 32,
        score=score,
        event_time=MOMENT,
        scored_at=MOMENT,
        input=INPUT,
    )
    return msgspec.structs.replace(made, **changes)


def predicted(
    offset: int = 0,
    *,
    key: bytes | None = b"a",
    input_offset: int | None = None,
    input_partition: int = 0,
    later_s: float = 0.0,
    place: Position = PLACE,
    headers: Headers = (),
    **changes: Any,
) -> Record:
    """The record of a prediction: at ``offset`` of its topic, by default of the input at the same offset."""
    own = moved(INPUT, partition=input_partition, offset=offset if input_offset is None else input_offset)
    made = prediction(**{"input": own, "scored_at": MOMENT + timedelta(seconds=later_s), **changes})
    return record(msgspec.json.encode(made), moved(place, offset=offset), key=key, headers=headers)


def letter(**changes: Any) -> DeadLetter:
    """What the headers of a dead letter of the model ``small`` say."""
    made = DeadLetter(
        reason=Reason.WRONG_TYPE, detail="why", origin=INPUT, at=MOMENT, model="small", version="1", sequence=1
    )
    return msgspec.structs.replace(made, **changes)


def lettered(
    offset: int = 0, *, key: bytes | None = b"a", value: bytes | None = b"{}", own: Headers = (), **changes: Any
) -> Record:
    """The record of a dead letter; ``own`` are the headers of its input."""
    headers = (*own, *letter(**changes).headers())
    return record(value, moved(LETTERS, offset=offset), key=key, headers=headers)


def record(value: bytes | None, place: Position = PLACE, *, key: bytes | None = b"a", headers: Headers = ()) -> Record:
    """A record of a topic."""
    return Record(place=place, key=key, value=value, headers=headers, recorded_at=MOMENT)


def store(database: Database, *records: Record) -> None:
    """Write records that follow each other in one partition, as a sink does."""
    place = records[0].place
    partition = Partition(place.topic_id, place.partition, place.topic)
    tables_of = Tables(database)
    known = tables_of.begin(partition, place.offset)
    moves = [Move(partition, known, records[-1].place.offset + 1)]
    if place.topic == LETTERS.topic:
        tables_of.write(Batch(moves, dead_letters=list(map(dead_letter_row, records))))
    else:
        tables_of.write(Batch(moves, predictions=list(map(prediction_row, records))))


def store_unreadable(database: Database, found: Record, reason: str) -> None:
    """Write a record that is neither, as a sink does."""
    partition = Partition(found.place.topic_id, found.place.partition, found.place.topic)
    known = Tables(database).begin(partition, found.place.offset)
    move = Move(partition, known, found.place.offset + 1)
    Tables(database).write(Batch([move], unreadable=[unreadable_row(found, reason)]))


def stored(database: Database) -> list[StoredPrediction]:
    """All predictions, in the order of their topic."""
    return [stored_prediction(row) for row in rows(database, tables.predictions)]


def stored_letters(database: Database) -> list[StoredDeadLetter]:
    """All dead letters, in the order of their topic."""
    return [stored_dead_letter(row) for row in rows(database, tables.dead_letters)]


def stored_others(database: Database) -> list[StoredUnreadable]:
    """All records that are neither, in the order of their topic."""
    return [stored_unreadable(row) for row in rows(database, tables.unreadable)]


def rows(database: Database, table: sa.Table) -> list[sa.RowMapping]:
    """All rows of a table in the order of their own places, documents as text."""
    documents = {"headers", "probabilities", "pass_through", "lookups"}
    texts = [sa.cast(c, sa.Text).label(c.name) if c.name in documents else c for c in table.c]
    order = (table.c.topic_id, table.c.topic_partition, table.c.topic_offset)
    with database.reading() as connection:
        return list(connection.execute(sa.select(*texts).order_by(*order)).mappings())
