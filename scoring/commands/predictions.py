"""``baton predictions``: make the tables that a sink fills, and delete what is old in them."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click

from scoring.console import echo_json, echo_table, json_option
from scoring.contract.clock import rfc3339
from scoring.database.connection import Database
from scoring.database.migrations import migrate as migrate_database
from scoring.predictions.database import MIGRATIONS, open_current, open_database
from scoring.predictions.prune import Old, delete, old
from scoring.settings import read_settings

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Span(click.ParamType[timedelta]):
    """A span of time: a whole number of hours, days or weeks."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """``90d`` as a timedelta."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", value)
        if found is None:
            self.fail(f"{value!r} is not a span of time; write 12h, 90d or 52w", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group()
def command() -> None:
    """The tables of predictions and dead letters that `baton sink` fills."""


@command.command()
@json_option
def migrate(as_json: bool) -> None:  # noqa: FBT001
    """Make the tables in the database of BATON_PREDICTIONS_URL, or bring them to this version. Safe to repeat."""
    with closed_at_last(open_database(read_settings().need_predictions_url())) as database:
        found = migrate_database(database, MIGRATIONS)
    if as_json:
        echo_json({"revision": MIGRATIONS.revision, "before": found})
    else:
        click.echo(f"the {database.shown} is at revision {MIGRATIONS.revision}")


@command.command(
    epilog="""Examples:

\b
  baton predictions prune --older-than 90d --dry-run
  baton predictions prune --older-than 52w
"""
)
@click.option("--older-than", type=Span(), required=True, help="Hours, days or weeks: 12h, 90d, 52w.")
@click.option("--dry-run", is_flag=True, help="Only say how many rows would go.")
@json_option
def prune(older_than: timedelta, *, dry_run: bool, as_json: bool) -> None:
    """Delete predictions, dead letters and unreadable records that are older than that.

    A prediction is as old as its scoring, a dead letter as its refusal, an unreadable record as its timestamp in Kafka.
    The latest prediction of each key stays, however old it is. Rows go a few thousand at a time, so a sink that runs
    meanwhile hardly waits; stopped half-way it has done half. Safe to repeat.
    """
    with closed_at_last(open_current(read_settings().need_predictions_url())) as database:
        found = old(database, older_than)
        if not dry_run:
            for one in found:
                _delete(database, one)
    if as_json:
        echo_json({"before": found[0].before, "rows": {one.table: one.rows for one in found}, "deleted": not dry_run})
        return
    echo_table(("table", "older rows"), [(one.table, f"{one.rows:,}") for one in found])
    click.echo(f"{'would go' if dry_run else 'gone'}: what is older than {rfc3339(found[0].before)}")


@contextmanager
def closed_at_last(database: Database) -> Iterator[Database]:
    """A database whose connections are let go of in the end."""
    try:
        yield database
    finally:
        database.engine.dispose()


def _delete(database: Database, found: Old) -> None:
    """Delete with a bar on standard error, which shows where that is a terminal."""
    bar = click.progressbar(length=found.rows, label=found.table, file=sys.stderr, show_pos=True)
    with bar:
        for deleted in delete(database, found):
            bar.update(deleted)
