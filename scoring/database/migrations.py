"""Migrations, run by Alembic from inside the package and beside other applications' tables."""

import msgspec
import sqlalchemy as sa

from scoring.contract.errors import ConfigurationError
from scoring.database.connection import Database


class Migrations(msgspec.Struct, frozen=True):
    """What brings a database to this version's tables.

    Attributes:
        scripts: Alembic's scripts, ``package:folder``.
        revision: the newest of them; a database at any other is migrated or refused.
        version_table: where the database says at which it is.
        lock: PostgreSQL's advisory lock; any constant will do, as long as every Baton takes the same one.
    """

    scripts: str
    revision: str
    version_table: str
    lock: int


def migrate(database: Database, migrations: Migrations) -> str | None:
    """Bring a database to this version's tables; safe to run from many processes at once.

    Returns:
        the revision that it was at; None where its tables were made just now.

    Raises:
        ConfigurationError: it is of a newer version than this program.
        Unavailable: it cannot be reached.
    """
    found = revision(database, migrations)
    if found == migrations.revision:
        return found
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(migrations.lock)))
        found = _revision(connection, migrations)
        if found != migrations.revision:
            _upgrade(connection, database.name, migrations, found)
    return found


def revision(database: Database, migrations: Migrations) -> str | None:
    """The revision that a database is at; None where there are no tables."""
    with database.reading() as connection:
        return _revision(connection, migrations)


def require_current(database: Database, migrations: Migrations) -> None:
    """Raise ConfigurationError unless the tables are there, at this version's revision."""
    found = revision(database, migrations)
    if found != migrations.revision:
        needed = f"is at revision {found}, this program needs {migrations.revision}"
        state = "was never made" if found is None else needed
        raise ConfigurationError(f"the {database.shown} {state}; run `{database.remedy}`")


def _revision(connection: sa.Connection, migrations: Migrations) -> str | None:
    table = migrations.version_table
    if not sa.inspect(connection).has_table(table):
        return None
    found: str | None = connection.execute(sa.text(f"select version_num from {table}")).scalar()  # noqa: S608
    return found


def _upgrade(connection: sa.Connection, name: str, migrations: Migrations, found: str | None) -> None:
    # Alembic is needed once in a database's life; every other command is spared its import.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", migrations.scripts)
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        needed = migrations.revision
        raise ConfigurationError(
            f"the {name} is at revision {found}, which this program (revision {needed}) does not know; upgrade it"
        )
    command.upgrade(config, migrations.revision)
