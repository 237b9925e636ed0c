"""What is known of each backfill, and its chunks that are done."""

import sqlalchemy as sa
from alembic import op

from scoring.database.types import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "backfills",
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("name", sa.String(31), nullable=False),
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("run", sa.String(36), nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("begun_at", UtcDateTime, nullable=False),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("rows", sa.BigInteger),
        sa.Column("failures", sa.BigInteger),
        sa.Column("digest", sa.String(64)),
        sa.PrimaryKeyConstraint("model", "name", name="backfills_pk"),
        sa.UniqueConstraint("table_name", name="backfills_one_per_table"),
        sa.CheckConstraint("state in ('running', 'complete')", name="backfills_state"),
    )
    op.create_table(
        "backfill_chunks",
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("name", sa.String(31), nullable=False),
        sa.Column("chunk", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("model", "name", "chunk", name="backfill_chunks_pk"),
        sa.ForeignKeyConstraint(
            ["model", "name"], ["backfills.model", "backfills.name"], name="backfill_chunks_backfill"
        ),
    )


def downgrade() -> None:
    """Take both tables away; the tables with the rows of backfills stay."""
    op.drop_table("backfill_chunks")
    op.drop_table("backfills")
