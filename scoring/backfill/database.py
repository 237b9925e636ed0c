"""Where backfills live: the database of predictions, in tables of their own."""

from scoring.backfill.tables import REVISION, VERSION_TABLE
from scoring.database.connection import Database
from scoring.database.migrations import Migrations

MIGRATIONS = Migrations(
    scripts="scoring.backfill:migrations", revision=REVISION, version_table=VERSION_TABLE, lock=0x0BA7_0007
)


def open_database(url: str, *, pooled: bool = False) -> Database:
    """The database; nothing connects yet.

    Args:
        pooled: see ``Database.open``.

    Raises:
        ConfigurationError: the URL is malformed, or its driver is not installed.
    """
    return Database.open(url, "predictions' database", "baton backfill MODEL --from … --to …", pooled=pooled)
