"""The ledger's tables. The migrations make them; these definitions are what the queries are built from."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from scoring.database.types import UtcDateTime

# The newest revision in migrations/versions; a ledger at any other is migrated or refused.
REVISION = "0001"
VERSION_TABLE = "baton_alembic_version"

metadata = MetaData()


identity = Table(
    "ledger_identity",
    metadata,
    # One row: the only value that the check lets in.
    Column("id", Integer, CheckConstraint("id = 1", name="ledger_identity_one_row"), autoincrement=False),
    Column("ledger", String(36), nullable=False),
    PrimaryKeyConstraint("id", name="ledger_identity_pk"),
)

entries = Table(
    "ledger_entries",
    metadata,
    Column("id", Integer, nullable=False),
    Column("model", String(63), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("manifest_digest", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("parent_sequence", Integer),
    Column("run_id", Text, nullable=False),
    Column("candidate_id", String(64), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("interval_start", UtcDateTime, nullable=False),
    Column("interval_end", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("effective_from", UtcDateTime, nullable=False),
    Column("forced", Boolean, nullable=False),
    PrimaryKeyConstraint("id", name="ledger_entries_pk"),
    # The compare-and-set (protocol A.2): two decisions on one parent want the same sequence.
    UniqueConstraint("model", "sequence", name="ledger_entries_one_per_sequence"),
    # One decision per run and candidate (protocol A.3).
    UniqueConstraint("model", "run_id", "candidate_id", name="ledger_entries_one_per_run"),
    # The sequence is unbroken: each entry stands on the one before it.
    ForeignKeyConstraint(
        ["model", "parent_sequence"],
        ["ledger_entries.model", "ledger_entries.sequence"],
        name="ledger_entries_parent",
    ),
    CheckConstraint("sequence = coalesce(parent_sequence, 0) + 1", name="ledger_entries_unbroken"),
    CheckConstraint("kind in ('promote', 'rollback', 'retire')", name="ledger_entries_kind"),
)
