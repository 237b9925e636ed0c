"""The backfills of a database: which there are, what came of them, and how one goes away."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from scoring.backfill.asked import Asked
from scoring.backfill.database import MIGRATIONS, open_database
from scoring.backfill.lookahead import Span
from scoring.backfill.plan import decode_plan
from scoring.backfill.sql_store import SqlStore
from scoring.backfill.tables import backfills, chunks, rows_table
from scoring.contract.errors import ConfigurationError
from scoring.database.migrations import revision


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A backfill.

    Attributes:
        where: its table, or its folder.
        spans: which version scores when, and which of the rows look ahead.
        done: of ``chunks``, those that are done.
        rows, failures: of the chunks that are done; a failure is a row with a reason instead of a score.
        digest: equal where the rows are; None of one that is not complete.
    """

    model: str
    name: str
    where: str
    asked: Asked
    spans: tuple[Span, ...]
    actor: str
    state: str
    begun_at: datetime
    finished_at: datetime | None
    chunks: int
    done: int
    rows: int
    failures: int
    digest: str | None


class Catalog:
    """Reads what is known of backfills (see ``Catalog.open``); every method raises Unavailable as a database does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database = open_database(url)

    def exists(self) -> bool:
        """Whether there is such a database; looking makes none."""
        try:
            self._database.require_file()
        except ConfigurationError:
            return False
        return True

    def all(self, model: str | None = None) -> list[Listed]:
        """The backfills of a model, or of all, oldest first; none where there never was one.

        Raises:
            ConfigurationError: there is no such database.
        """
        self._database.require_file()
        if revision(self._database, MIGRATIONS) is None:
            return []
        wanted = sa.true() if model is None else backfills.c.model == model
        with self._database.reading() as connection:
            query = sa.select(backfills).where(wanted).order_by(backfills.c.begun_at, backfills.c.name)
            return [_listed(connection, row) for row in connection.execute(query).mappings()]

    def done(self, model: str, name: str) -> int:
        """How many chunks of a backfill are done; 0 where there is none, or no such database."""
        if not self.exists():
            return 0
        return next((each.done for each in self.all(model) if each.name == name), 0)

    def one(self, model: str, name: str) -> Listed:
        """The backfill of that name.

        Raises:
            ConfigurationError: there is none.
        """
        found = {each.name: each for each in self.all(model)}
        if name not in found:
            known = f"; there are {', '.join(found)}" if found else ""
            raise ConfigurationError(f"{model} has no backfill {name!r}{known}")
        return found[name]

    def remove(self, model: str, name: str) -> Listed:
        """Take a backfill's table away, and all that is known of it; returns what there was.

        Raises:
            ConfigurationError: there is none.
            Busy: it is being run.
        """
        found = self.one(model, name)
        with SqlStore.open(self._url, model, name).lock(), self._database.writing() as connection:
            for table in (chunks, backfills):
                connection.execute(sa.delete(table).where(table.c.model == model, table.c.name == name))
            rows_table(found.where).drop(connection, checkfirst=True)
        return found


def _listed(connection: sa.Connection, row: Any) -> Listed:
    own = (chunks.c.model == row["model"]) & (chunks.c.name == row["name"])
    count, rows, failures = (sa.func.count(), sa.func.sum(chunks.c.rows), sa.func.sum(chunks.c.failures))
    done = connection.execute(sa.select(count, rows, failures).select_from(chunks).where(own)).one()
    plan = decode_plan(row["plan"])
    return Listed(
        where=row["table_name"],
        asked=plan.asked,
        spans=plan.spans,
        done=int(done[0]),
        rows=int(done[1] or 0),
        failures=int(done[2] or 0),
        **{
            name: row[name]
            for name in ("model", "name", "actor", "state", "begun_at", "finished_at", "chunks", "digest")
        },
    )
