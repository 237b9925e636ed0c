"""``baton ledger``: read the ledger of promotions, and make it."""

import sys
from datetime import datetime

import click

from scoring.console import (
    EXIT_REFUSED,
    Moment,
    describe_entry,
    echo_json,
    echo_table,
    json_option,
    open_ledger,
    verdict_lines,
)
from scoring.contract.clock import rfc3339
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.rules import rolled_back
from scoring.settings import read_settings


@click.group()
def command() -> None:
    """The ledger of promotions and rollbacks: which version, when, on what evidence, decided by whom."""


@command.command()
@json_option
def migrate(as_json: bool) -> None:  # noqa: FBT001
    """Make the ledger's tables in the database of BATON_LEDGER_URL, or bring them to this version. Safe to repeat."""
    found = Ledger.open(read_settings().need_ledger_url()).identity()
    if as_json:
        echo_json({"ledger": found})
    else:
        click.echo(f"the ledger {found} is ready")


@command.command()
@json_option
def identity(as_json: bool) -> None:  # noqa: FBT001
    """Show the ledger's UUID, which every notice carries."""
    found = open_ledger(read_settings()).identity()
    if as_json:
        echo_json({"ledger": found})
    else:
        click.echo(found)


@command.command(
    epilog="""Examples:

\b
  baton ledger log flight_delay
  baton ledger log flight_delay --json
"""
)
@click.argument("model")
@json_option
def log(model: str, as_json: bool) -> None:  # noqa: FBT001
    """List all entries of MODEL, oldest first."""
    entries = open_ledger(read_settings()).entries(model)
    if as_json:
        echo_json(entries)
        return
    if not entries:
        click.echo(f"the ledger has no entry of {model}", err=True)
        return
    taken_back = rolled_back(entries)
    rows = [_row(entry, taken_back) for entry in entries]
    echo_table(("sequence", "kind", "version", "decided at", "effective from", "by", "reason"), rows)


@command.command(
    epilog="""Examples:

\b
  baton ledger show flight_delay       # the newest entry
  baton ledger show flight_delay 3
"""
)
@click.argument("model")
@click.argument("sequence", type=click.IntRange(min=1), required=False)
@json_option
def show(model: str, sequence: int | None, as_json: bool) -> None:  # noqa: FBT001
    """Show one entry of MODEL with its evidence: by default the newest."""
    ledger = open_ledger(read_settings())
    entry = ledger.head(model) if sequence is None else ledger.entry(model, sequence)
    which = "no entry" if sequence is None else f"no sequence {sequence}"
    _echo_entry(entry, f"the ledger has {which} of {model}", as_json=as_json)


@command.command(
    "as-of",
    epilog="""Examples:

\b
  baton ledger as-of flight_delay 2013-04-15T12:00:00Z
  baton ledger as-of flight_delay 2026-03-01T08:00:00+01:00 --decided
""",
)
@click.argument("model")
@click.argument("moment", type=Moment())
@click.option(
    "--decided", "--processing-time", is_flag=True, help="Ask by processing time: what had been decided by then."
)
@json_option
def as_of(model: str, moment: datetime, decided: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show which version of MODEL counts for events at MOMENT, on what evidence, and who decided it.

    It is the highest sequence that is effective from MOMENT or before, as the ledger knows it now; a decision may have
    been made later than the events that it counts for. With --decided it is the newest decision that had been made at
    MOMENT, which is what the workers then followed. Exit status 1 when there is none.
    """
    ledger = open_ledger(read_settings())
    if decided:
        entry, otherwise = ledger.known_at(model, moment), f"nothing was decided about {model} by {rfc3339(moment)}"
    else:
        entry, otherwise = ledger.as_of(model, moment), f"no version of {model} counts at {rfc3339(moment)}"
    _echo_entry(entry, otherwise, as_json=as_json)


def _echo_entry(entry: LedgerEntry | None, otherwise: str, *, as_json: bool) -> None:
    if entry is None:
        click.echo(f"baton: {otherwise}", err=True)
        sys.exit(EXIT_REFUSED)
    if as_json:
        echo_json(entry)
        return
    click.echo(describe_entry(entry))
    details = {
        "on sequence": str(entry.parent_sequence),
        "effective from": rfc3339(entry.effective_from),
        "data": f"{rfc3339(entry.interval.start)} to {rfc3339(entry.interval.end)}",
        "manifest": entry.manifest_digest,
        "run": entry.run_id,
    }
    for name, text in details.items():
        click.echo(f"  {name}: {text}")
    for line in verdict_lines(entry.evidence):
        click.echo(line)


def _row(entry: LedgerEntry, taken_back: dict[str, LedgerEntry]) -> tuple[str, ...]:
    by = taken_back.get(entry.manifest_digest)
    mark = f" (rolled back at {by.sequence})" if by is not None and by.sequence > entry.sequence else ""
    return (
        str(entry.sequence),
        entry.kind.value + (" forced" if entry.forced else ""),
        entry.version + mark,
        rfc3339(entry.decided_at),
        rfc3339(entry.effective_from),
        entry.actor,
        entry.reason,
    )
