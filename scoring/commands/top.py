"""``baton top``: what all workers do, from their heartbeats."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from shutil import get_terminal_size

import click

from scoring.console import echo_json, json_option
from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected
from scoring.contract.heartbeat import unseal_heartbeat
from scoring.contract.topics import WORKERS
from scoring.kafka import Tail, headers_of
from scoring.promotion.observer import Presence
from scoring.settings import read_settings
from scoring.worker.fleet import Fleet, Row, totals

# Old heartbeats are left unread: the topic may hold an hour of them, and whoever is there speaks every two seconds.
LOOK_BACK = timedelta(seconds=60)
LISTEN_S = 5.0
REDRAW_S = 1.0
_POLL_S = 0.2
_TO_TOP, _REST_OF_LINE, _REST_OF_SCREEN = "\033[H", "\033[K", "\033[J"
_HEADINGS = ("worker", "model", "state", "version", "seq", "rec/s", "lag", "lag s", "parts", "dead letters", "remarks")


@click.command(
    epilog="""Examples:

\b
  baton top
  baton top --deployment flights
  baton top --once --json
"""
)
@click.option("--deployment", help="Only the workers of this deployment; by default those of all.")
@click.option("--once", is_flag=True, help="Listen for a moment, show what was heard once, and end.")
@click.option(
    "--listen",
    "listen_s",
    default=LISTEN_S,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds, with --once.",
)
@json_option
def command(deployment: str | None, *, once: bool, listen_s: float, as_json: bool) -> None:
    """Show every worker: its models' states, versions and sequences, rate, lag, partitions, pauses and dead letters.

    Reads the workers' heartbeats, which come every two seconds; nothing is asked of the workers themselves. Without
    --once it goes on until interrupted; on a terminal it redraws, otherwise (and with --json) it writes one answer.
    Exit status 1, with --once, when no worker was heard.
    """
    settings = read_settings()
    keyring, fleet = settings.need_keyring(), Fleet(deployment)
    with Tail(settings.need_kafka(), {WORKERS: datetime.now(UTC) - LOOK_BACK}) as tail:
        if once or as_json or not sys.stdout.isatty():
            _listen(tail, keyring, fleet, time.monotonic() + listen_s)
            rows = fleet.rows(time.monotonic())
            _write(rows, as_json=as_json)
            sys.exit(0 if rows else 1)
        _watch(tail, keyring, fleet)


def _watch(tail: Tail, keyring: Keyring, fleet: Fleet) -> None:
    click.clear()
    try:
        while True:
            _listen(tail, keyring, fleet, time.monotonic() + REDRAW_S)
            columns, height = get_terminal_size()
            lines = [_cut(line, columns) + _REST_OF_LINE for line in _lines(fleet.rows(time.monotonic()))]
            click.echo(_TO_TOP + "\n".join(lines[: height - 1]) + _REST_OF_SCREEN)
    except KeyboardInterrupt:
        click.echo(err=True)


def _listen(tail: Tail, keyring: Keyring, fleet: Fleet, until_s: float) -> None:
    while (left_s := until_s - time.monotonic()) > 0:
        message = tail.poll(min(_POLL_S, left_s))
        if message is None:
            continue
        try:
            beat = unseal_heartbeat(message.key(), message.value(), headers_of(message), keyring)
        except EnvelopeRejected:  # a worker's operator sees these elsewhere; here they are just not believed
            continue
        of_before = (message.offset() or 0) < tail.ends[WORKERS]
        fleet.hear(beat, None if of_before else time.monotonic())


def _write(rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        echo_json(rows)
    elif rows:
        click.echo("\n".join(_lines(rows)))
    else:
        click.echo("baton: no worker was heard; is one running, and with the same signing keys?", err=True)


def _lines(rows: list[Row]) -> Iterator[str]:
    rate, lag, letters = totals(rows)
    counted = ", ".join(f"{reason} {count}" for reason, count in letters.most_common()) or "none"
    yield f"{datetime.now(UTC):%H:%M:%S} UTC   {rate:,.0f} records/s   {lag:,} behind   dead letters: {counted}"
    cells = [_HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    silent = "" if row.silent_s is None else f" ({row.silent_s:.0f} s)"
    state = row.state.value if row.presence is Presence.LIVE else f"{row.presence.value}{silent}"
    remarks = [f"{count} paused: {why}" for why, count in row.paused.items()]
    remarks += [f"next {row.pending}"] if row.pending is not None else []
    remarks += [_printable(row.reason)] if row.reason else []
    return (
        _printable(row.worker),
        _printable(row.model),
        state,
        _printable(row.version or "-"),
        "-" if row.sequence is None else str(row.sequence),
        "-" if row.records_per_s is None else f"{row.records_per_s:,.0f}",
        "-" if row.lag is None else f"{row.lag:,}",
        "-" if row.lag_s is None else f"{row.lag_s:,.1f}",
        str(len(row.partitions)),
        " ".join(f"{_printable(reason)}:{count}" for reason, count in row.dead_letters.items()) or "-",
        "; ".join(remarks),
    )


def _printable(text: str) -> str:
    """Without what would move the cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _cut(line: str, columns: int) -> str:
    return line if len(line) <= columns else f"{line[: columns - 1]}…"
