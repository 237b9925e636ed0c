"""The tables that a sink fills. The migrations make them; these definitions are what the queries are built from.

Places are ``topic_…`` where they are a row's own, in the topic of predictions or dead letters, and ``input_…`` where
they are those of the input record.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from scoring.database.types import UtcDateTime
from scoring.predictions.types import document, name, number

# The newest revision in migrations/versions; a database at any other is migrated or refused.
REVISION = "0001"
VERSION_TABLE = "baton_predictions_alembic_version"

metadata = MetaData()


def _place() -> Iterator[Column[Any]]:
    yield Column("topic", Text, nullable=False)
    yield Column("topic_id", name(), nullable=False)
    yield Column("topic_partition", Integer, nullable=False)
    yield Column("topic_offset", BigInteger, nullable=False)


def _input() -> Iterator[Column[Any]]:
    yield Column("input_topic", Text, nullable=False)
    yield Column("input_topic_id", name(), nullable=False)
    yield Column("input_partition", Integer, nullable=False)
    yield Column("input_offset", BigInteger, nullable=False)


def _prediction(*, keyed: bool) -> Iterator[Column[Any]]:
    yield from _place()
    yield Column("model", String(63), nullable=False)
    yield Column("record_key", name(), nullable=not keyed)
    yield Column("whole_key", LargeBinary)
    yield Column("headers", document())
    yield Column("version", Text, nullable=False)
    yield Column("sequence", Integer, nullable=False)
    yield Column("manifest_digest", String(64), nullable=False)
    yield Column("score", number(), nullable=False)
    yield Column("decision", Boolean)
    yield Column("label", Text)
    yield Column("probabilities", document())
    yield Column("event_time", UtcDateTime, nullable=False)
    yield Column("scored_at", UtcDateTime, nullable=False)
    yield from _input()
    yield Column("pass_through", document())
    yield Column("lookups", document())


identity = Table(
    "predictions_identity",
    metadata,
    # One row: the only value that the check lets in.
    Column("id", Integer, CheckConstraint("id = 1", name="predictions_identity_one_row"), autoincrement=False),
    Column("tables", String(36), nullable=False),
    PrimaryKeyConstraint("id", name="predictions_identity_pk"),
)

# The topics of predictions, record for record: under at-least-once delivery, too, where an input may have two.
predictions = Table(
    "predictions",
    metadata,
    *_prediction(keyed=False),
    PrimaryKeyConstraint("topic_id", "topic_partition", "topic_offset", name="predictions_pk"),
    Index("predictions_of_key", "model", "record_key", "scored_at", "input_offset"),
    # Offset and partition say nearly all; the topic's name and its id would make the index three times as large.
    Index("predictions_of_input", "input_offset", "input_partition"),
    Index("predictions_scored_at", "scored_at"),
)

# The one prediction per model and key that counts (see latest.py).
latest = Table(
    "latest_predictions",
    metadata,
    *_prediction(keyed=True),
    PrimaryKeyConstraint("model", "record_key", name="latest_predictions_pk"),
    # Room in each page for the next version of its rows, which then changes no index.
    postgresql_with={"fillfactor": 70},
)

dead_letters = Table(
    "dead_letters",
    metadata,
    *_place(),
    Column("model", String(63), nullable=False),
    Column("record_key", name()),
    Column("whole_key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", document()),
    Column("by_reference", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("version", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    *_input(),
    PrimaryKeyConstraint("topic_id", "topic_partition", "topic_offset", name="dead_letters_pk"),
    Index("dead_letters_of_input", "input_offset", "input_partition"),
    Index("dead_letters_at", "at"),
)

# Records of these topics that are no prediction and no dead letter, as they were.
unreadable = Table(
    "unreadable_records",
    metadata,
    *_place(),
    Column("recorded_at", UtcDateTime),
    Column("reason", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", document()),
    PrimaryKeyConstraint("topic_id", "topic_partition", "topic_offset", name="unreadable_records_pk"),
)

# How far each partition is in the tables; written in the transaction that writes the rows.
offsets = Table(
    "sink_offsets",
    metadata,
    Column("topic", Text, nullable=False),
    Column("topic_id", name(), nullable=False),
    Column("topic_partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("topic_id", "topic_partition", name="sink_offsets_pk"),
)

# What the topic's retention deleted before a sink had read it: offsets from first_offset up to next_offset.
gaps = Table(
    "sink_gaps",
    metadata,
    Column("topic", Text, nullable=False),
    Column("topic_id", name(), nullable=False),
    Column("topic_partition", Integer, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("topic_id", "topic_partition", "first_offset", name="sink_gaps_pk"),
)
