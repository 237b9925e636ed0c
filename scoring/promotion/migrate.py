"""Migrations of the ledger, run by Alembic from inside the package and beside other applications' tables."""

import sqlalchemy as sa

from scoring.contract.errors import ConfigurationError
from scoring.promotion.database import deciding, reading
from scoring.promotion.tables import REVISION, VERSION_TABLE

SCRIPTS = "scoring.promotion:migrations"
# Any constant will do, as long as every Baton takes the same one.
_ADVISORY_LOCK = 0x0BA7_0001


def migrate(engine: sa.Engine) -> str | None:
    """Bring the ledger to this version's tables; safe to run from many processes at once.

    Returns:
        the revision that it was at; None where the ledger was made just now.

    Raises:
        ConfigurationError: the ledger is of a newer version than this program.
        Unavailable: the database cannot be reached.
    """
    found = revision(engine)
    if found == REVISION:
        return found
    with deciding(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        found = _revision(connection)
        if found != REVISION:
            _upgrade(connection, found)
    return found


def revision(engine: sa.Engine) -> str | None:
    """The revision that the ledger is at; None where there is no ledger."""
    with reading(engine) as connection:
        return _revision(connection)


def require_current(engine: sa.Engine) -> None:
    """Raise ConfigurationError unless the ledger is there, at this version's revision."""
    found = revision(engine)
    if found != REVISION:
        state = "was never made" if found is None else f"is at revision {found}, this program needs {REVISION}"
        shown = engine.url.render_as_string(hide_password=True)
        raise ConfigurationError(f"the ledger at {shown} {state}; run `baton ledger migrate`")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalar()  # noqa: S608
    return found


def _upgrade(connection: sa.Connection, found: str | None) -> None:
    # Alembic is needed once in a ledger's life; every other command is spared its import.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"the ledger is at revision {found}, which this program (revision {REVISION}) does not know; upgrade it"
        )
    command.upgrade(config, REVISION)
