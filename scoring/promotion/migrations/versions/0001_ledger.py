"""The ledger: its identity and its entries."""

import uuid

import sqlalchemy as sa
from alembic import op

from scoring.database.types import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables, and give the ledger its UUID for life."""
    identity = op.create_table(
        "ledger_identity",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="ledger_identity_one_row"), autoincrement=False),
        sa.Column("ledger", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("id", name="ledger_identity_pk"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("manifest_digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("parent_sequence", sa.Integer),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("candidate_id", sa.String(64), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("interval_start", UtcDateTime, nullable=False),
        sa.Column("interval_end", UtcDateTime, nullable=False),
        sa.Column("decided_at", UtcDateTime, nullable=False),
        sa.Column("effective_from", UtcDateTime, nullable=False),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="ledger_entries_pk"),
        sa.UniqueConstraint("model", "sequence", name="ledger_entries_one_per_sequence"),
        sa.UniqueConstraint("model", "run_id", "candidate_id", name="ledger_entries_one_per_run"),
        sa.ForeignKeyConstraint(
            ["model", "parent_sequence"],
            ["ledger_entries.model", "ledger_entries.sequence"],
            name="ledger_entries_parent",
        ),
        sa.CheckConstraint("sequence = coalesce(parent_sequence, 0) + 1", name="ledger_entries_unbroken"),
        sa.CheckConstraint("kind in ('promote', 'rollback', 'retire')", name="ledger_entries_kind"),
    )
    op.bulk_insert(identity, [{"id": 1, "ledger": str(uuid.uuid4())}])


def downgrade() -> None:
    """A ledger is never taken back: what was decided stays on record."""
    raise NotImplementedError("the ledger's first migration has no way back; restore a backup instead")
