"""Predictions, the latest of each key, dead letters, records that cannot be read, and how far the sink is."""

import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from scoring.database.types import UtcDateTime
from scoring.predictions.types import document, name, number

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables, and give them their UUID for life."""
    _make_identity()
    _make_predictions()
    _make_dead_letters()
    op.create_table(
        "unreadable_records",
        *_place(),
        sa.Column("recorded_at", UtcDateTime),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", document()),
        sa.PrimaryKeyConstraint("topic_id", "topic_partition", "topic_offset", name="unreadable_records_pk"),
    )
    op.create_table(
        "sink_offsets",
        *_partition(),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("topic_id", "topic_partition", name="sink_offsets_pk"),
    )
    op.create_table(
        "sink_gaps",
        *_partition(),
        sa.Column("first_offset", sa.BigInteger, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("found_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("topic_id", "topic_partition", "first_offset", name="sink_gaps_pk"),
    )


def _make_identity() -> None:
    identity = op.create_table(
        "predictions_identity",
        sa.Column(
            "id", sa.Integer, sa.CheckConstraint("id = 1", name="predictions_identity_one_row"), autoincrement=False
        ),
        sa.Column("tables", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("id", name="predictions_identity_pk"),
    )
    op.bulk_insert(identity, [{"id": 1, "tables": str(uuid.uuid4())}])


def _make_predictions() -> None:
    op.create_table(
        "predictions",
        *_prediction(keyed=False),
        sa.PrimaryKeyConstraint("topic_id", "topic_partition", "topic_offset", name="predictions_pk"),
    )
    op.create_index("predictions_of_key", "predictions", ["model", "record_key", "scored_at", "input_offset"])
    op.create_index("predictions_of_input", "predictions", ["input_offset", "input_partition"])
    op.create_index("predictions_scored_at", "predictions", ["scored_at"])
    op.create_table(
        "latest_predictions",
        *_prediction(keyed=True),
        sa.PrimaryKeyConstraint("model", "record_key", name="latest_predictions_pk"),
        postgresql_with={"fillfactor": 70},
    )


def _make_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        *_place(),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("record_key", name()),
        sa.Column("whole_key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", document()),
        sa.Column("by_reference", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        *_input(),
        sa.PrimaryKeyConstraint("topic_id", "topic_partition", "topic_offset", name="dead_letters_pk"),
    )
    op.create_index("dead_letters_of_input", "dead_letters", ["input_offset", "input_partition"])
    op.create_index("dead_letters_at", "dead_letters", ["at"])


def _partition() -> Iterator[sa.Column[Any]]:
    yield sa.Column("topic", sa.Text, nullable=False)
    yield sa.Column("topic_id", name(), nullable=False)
    yield sa.Column("topic_partition", sa.Integer, nullable=False)


def _place() -> Iterator[sa.Column[Any]]:
    yield from _partition()
    yield sa.Column("topic_offset", sa.BigInteger, nullable=False)


def _input() -> Iterator[sa.Column[Any]]:
    yield sa.Column("input_topic", sa.Text, nullable=False)
    yield sa.Column("input_topic_id", name(), nullable=False)
    yield sa.Column("input_partition", sa.Integer, nullable=False)
    yield sa.Column("input_offset", sa.BigInteger, nullable=False)


def _prediction(*, keyed: bool) -> Iterator[sa.Column[Any]]:
    yield from _place()
    yield sa.Column("model", sa.String(63), nullable=False)
    yield sa.Column("record_key", name(), nullable=not keyed)
    yield sa.Column("whole_key", sa.LargeBinary)
    yield sa.Column("headers", document())
    yield sa.Column("version", sa.Text, nullable=False)
    yield sa.Column("sequence", sa.Integer, nullable=False)
    yield sa.Column("manifest_digest", sa.String(64), nullable=False)
    yield sa.Column("score", number(), nullable=False)
    yield sa.Column("decision", sa.Boolean)
    yield sa.Column("label", sa.Text)
    yield sa.Column("probabilities", document())
    yield sa.Column("event_time", UtcDateTime, nullable=False)
    yield sa.Column("scored_at", UtcDateTime, nullable=False)
    yield from _input()
    yield sa.Column("pass_through", document())
    yield sa.Column("lookups", document())


def downgrade() -> None:
    """What a sink has read is not thrown away: the topics may have deleted it since."""
    raise NotImplementedError("the first migration of the predictions has no way back; drop their tables by hand")
