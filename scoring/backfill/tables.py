"""The tables of backfills: two that tell of all of them, made by migrations, and one for the rows of each."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

from scoring.database.types import UtcDateTime

# The newest revision in migrations/versions.
REVISION = "0001"
VERSION_TABLE = "baton_backfills_alembic_version"
PREFIX = "backfill_"
# PostgreSQL cuts longer names off.
MAXIMUM_NAME_CHARACTERS = 63

metadata = MetaData()
# Not jsonb, which keeps no -0.0.
Json = Text().with_variant(postgresql.JSON(), "postgresql")

backfills = Table(
    "backfills",
    metadata,
    Column("model", String(63), nullable=False),
    Column("name", String(31), nullable=False),
    Column("table_name", String(63), nullable=False),
    Column("plan", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # Whoever runs it now; what another run still writes is refused by it.
    Column("run", String(36), nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("rows", BigInteger),
    Column("failures", BigInteger),
    Column("digest", String(64)),
    PrimaryKeyConstraint("model", "name", name="backfills_pk"),
    UniqueConstraint("table_name", name="backfills_one_per_table"),
    CheckConstraint("state in ('running', 'complete')", name="backfills_state"),
)

# A chunk is here when its rows are in the table of its backfill, and not otherwise.
chunks = Table(
    "backfill_chunks",
    metadata,
    Column("model", String(63), nullable=False),
    Column("name", String(31), nullable=False),
    Column("chunk", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    PrimaryKeyConstraint("model", "name", "chunk", name="backfill_chunks_pk"),
    ForeignKeyConstraint(["model", "name"], ["backfills.model", "backfills.name"], name="backfill_chunks_backfill"),
)


def table_name(model: str, name: str) -> str:
    """The name of the table with a backfill's rows; of a long name the model's part is cut."""
    room = MAXIMUM_NAME_CHARACTERS - len(PREFIX) - len(name) - 1
    return f"{PREFIX}{model[:room]}_{name}"


def rows_table(name: str) -> Table:
    """The table with the rows of a backfill, in the order of chunk and place."""
    return Table(
        name,
        MetaData(),
        Column("chunk", Integer, nullable=False),
        Column("place", Integer, nullable=False),
        Column("record_key", Text),
        Column("event_time", UtcDateTime),
        Column("score", Double),
        Column("decision", Boolean),
        Column("label", Text),
        Column("probabilities", Json),
        Column("pass_through", Json),
        Column("lookups", Json),
        Column("reason", String(32)),
        Column("detail", Text),
        Column("version", Text, nullable=False),
        Column("sequence", Integer),
        Column("manifest_digest", String(64), nullable=False),
        Column("lookahead", Boolean, nullable=False),
        # Of records from the input topic.
        Column("input_partition", Integer),
        Column("input_offset", BigInteger),
        PrimaryKeyConstraint("chunk", "place", name=f"{name[:60]}_pk"),
        # SQLite then keeps the rows in the order in which they come, and no index beside them.
        sqlite_with_rowid=False,
    )
