"""Where the ledger lives."""

from scoring.database.connection import Database
from scoring.database.migrations import Migrations
from scoring.promotion.tables import REVISION, VERSION_TABLE

MIGRATIONS = Migrations(
    scripts="scoring.promotion:migrations", revision=REVISION, version_table=VERSION_TABLE, lock=0x0BA7_0001
)


def open_database(url: str) -> Database:
    """The ledger's database; nothing connects yet.

    A ledger is asked a few times a day, from processes that fork: each question opens a connection of its own.

    Raises:
        ConfigurationError: the URL is malformed, or its driver is not installed.
    """
    return Database.open(url, "ledger", "baton ledger migrate")
