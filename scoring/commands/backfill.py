"""``baton backfill``: score a past period with the versions that were champion then, or with one that is named."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import click
import msgspec

from scoring.backfill.asked import Asked, Origin, asked_for, name_of
from scoring.backfill.catalog import Catalog, Listed
from scoring.backfill.chunks import Place, job_of
from scoring.backfill.lookahead import Span
from scoring.backfill.prepare import Prepared, prepare
from scoring.backfill.progress import counted
from scoring.backfill.run import run as run_job
from scoring.backfill.store import Finished
from scoring.backfill.telling import Teller
from scoring.console import (
    EXIT_REFUSED,
    Length,
    Moment,
    WithDefault,
    default_actor,
    echo_json,
    echo_table,
    json_option,
)
from scoring.contract.clock import rfc3339
from scoring.settings import Settings, read_settings


@click.group(cls=WithDefault)
def command() -> None:
    """Score a past period as it would have been scored then; `baton backfill MODEL` is short for `baton backfill run`.

    A backfill writes a table or a folder of its own. It never touches live topics, tables, the ledger or the champion.
    """


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes:
        chunks: of the plan; ``found`` of them were done before this run.
    """

    model: str
    name: str
    where: str
    spans: tuple[Span, ...]
    chunks: int
    found: int
    rows: int
    failures: int
    digest: str


class WouldDo(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do; ``records`` is None where only reading tells."""

    model: str
    name: str
    where: str
    spans: tuple[Span, ...]
    chunks: int
    done: int
    records: int | None


@command.command(
    epilog="""Examples:

\b
  baton backfill flight_delay --from 2013-04-01T00:00:00Z --to 2013-07-01T00:00:00Z --dry-run
  baton backfill flight_delay --from 2013-04-01T00:00:00Z --to 2013-07-01T00:00:00Z
  baton backfill flight_delay --from 2013-04-01T00:00:00Z --to 2013-05-01T00:00:00Z --version 1 --output april/
"""
)
@click.argument("model")
@click.option("--from", "start", required=True, type=Moment(), help="Event time at which it begins; included.")
@click.option("--to", "end", required=True, type=Moment(), help="Event time at which it ends; not included.")
@click.option("--from-topic", is_flag=True, help="Take the records from the input topic instead of the sources.")
@click.option("--version", help="Score all of it with this one; by default with the champion of each event's time.")
@click.option(
    "--name", help="Part of the table's name; by default made of what is asked, so that asking again goes on."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write Parquet files into this folder instead of a table.",
)
@click.option("--processes", type=click.IntRange(min=1), help="How many score at once; by default one for each core.")
@click.option(
    "--chunk",
    "chunk_s",
    type=Length(),
    help="How much time is scored in one go, such as 6h or 1d; by default what holds some 20,000 records.",
)
@click.option(
    "--allow-lookahead", is_flag=True, help="Also score with versions that may know the period; marks these rows."
)
@click.option("--actor", help="Who asks; by default the user and host that run the command.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@json_option
def run(
    model: str,
    *,
    start: datetime,
    end: datetime,
    from_topic: bool,
    version: str | None,
    name: str | None,
    output: Path | None,
    processes: int | None,
    chunk_s: int | None,
    allow_lookahead: bool,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Score the records of MODEL with an event in the period, each with the version that was champion at its event.

    The records come from the sources that the version's bundle names, or from the input topic as it stands. What cannot
    be scored is a row too, with its reason. A version that may know something of the period is refused: by its data,
    its holdout, or a label that became known later. Killed or stopped, it goes on where it was when the same command is
    run again. Exit status 1 when it is refused, or something could not be reached.
    """
    origin = Origin.TOPIC if from_topic else Origin.SOURCES
    asked = asked_for(
        model, start, end, origin=origin, version=version, allow_lookahead=allow_lookahead, chunk_s=chunk_s
    )
    settings = read_settings()
    settings.check_backfill(table=output is None, ledger=version is None, topic=from_topic)
    place = _place(asked, name_of(asked, name), output, settings)
    with tempfile.TemporaryDirectory(prefix="baton-backfill-") as scratch, _stoppable():
        prepared = prepare(asked, settings, Path(scratch))
        if dry_run:
            _tell_plan(place, prepared, as_json=as_json)
        else:
            _run(place, prepared, Path(scratch), actor or default_actor(), processes or _cores(), as_json=as_json)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C, and SIGTERM as well, stop after the chunks in hand; what was begun is tidied away."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("baton: stopped; run the same command again to go on", err=True)
        sys.exit(EXIT_REFUSED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _place(asked: Asked, name: str, output: Path | None, settings: Settings) -> Place:
    if output is not None:
        return Place(model=asked.model, name=name, folder=str(output.absolute()))
    return Place(model=asked.model, name=name, url=settings.need_predictions_url())


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _run(place: Place, prepared: Prepared, scratch: Path, actor: str, processes: int, *, as_json: bool) -> None:
    run_id, store = str(uuid4()), place.open()
    with store.lock():
        plan = store.begin(prepared.plan, actor, run_id)
        found, chunks = len(store.done()), len(plan.chunks())
        finished = store.finished()
        if finished is None:
            job = job_of(prepared, plan, place, run_id, scratch / "staged")
            with Teller(place.model, chunks, found) as teller:
                finished = run_job(job, store, processes, teller.tell)
    _tell_end(place, store.where, plan.spans, finished, chunks, found, as_json=as_json)


def _tell_end(
    place: Place, where: str, spans: tuple[Span, ...], finished: Finished, chunks: int, found: int, *, as_json: bool
) -> None:
    if as_json:
        told = {"chunks": chunks, "found": found, **msgspec.structs.asdict(finished)}
        echo_json(Done(model=place.model, name=place.name, where=where, spans=spans, **told))
        return
    failed = f", {finished.failures:,} of them with a reason instead of a score" if finished.failures else ""
    click.echo(f"{place.model}: {counted(finished.rows, 'row')}{failed}, in {where}")
    click.echo(f"  backfill {place.name}, {counted(chunks, 'chunk')}, digest {finished.digest}")


def _tell_plan(place: Place, prepared: Prepared, *, as_json: bool) -> None:
    plan, records = prepared.plan, prepared.records
    done = _done(place)
    would = WouldDo(
        model=place.model,
        name=place.name,
        where=place.where,
        spans=plan.spans,
        chunks=len(plan.chunks()),
        done=done,
        records=records,
    )
    if as_json:
        echo_json(would)
        return
    _echo_spans(plan.spans)
    known = "as many records as the sources have" if records is None else f"about {counted(records, 'record')}"
    click.echo(f"{known} in {counted(would.chunks, 'chunk')}, {done:,} of them done, would be in {would.where}")


def _done(place: Place) -> int:
    """How many chunks are done; looking makes neither tables nor a folder."""
    if place.url is not None:
        return Catalog(place.url).done(place.model, place.name)
    store = place.open()
    return 0 if store.begun() is None else len(store.done())


def _echo_spans(spans: Sequence[Span]) -> None:
    rows = [
        (
            rfc3339(span.start),
            rfc3339(span.end),
            span.version,
            "-" if span.sequence is None else str(span.sequence),
            span.manifest_digest[:12],
            "looks ahead" if span.lookahead else "",
        )
        for span in spans
    ]
    echo_table(("from", "to", "version", "sequence", "manifest", ""), rows)


@command.command(
    name="list",
    epilog="""Examples:

\b
  baton backfill list
  baton backfill list flight_delay --json
""",
)
@click.argument("model", required=False)
@json_option
def list_(model: str | None, *, as_json: bool) -> None:
    """List the backfills of MODEL, or of all, that are kept in tables, with what came of them."""
    found = Catalog(read_settings().need_predictions_url()).all(model)
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo("there is no backfill", err=True)
        return
    headings = ("model", "name", "state", "from", "to", "chunks", "rows", "not scored", "actor")
    echo_table(headings, [_row(each) for each in found])


def _row(each: Listed) -> tuple[str, ...]:
    asked = each.asked
    return (
        each.model,
        each.name,
        each.state,
        rfc3339(asked.start),
        rfc3339(asked.end),
        f"{each.done} of {each.chunks}",
        f"{each.rows:,}",
        f"{each.failures:,}",
        each.actor,
    )


@command.command(
    epilog="""Examples:

\b
  baton backfill show flight_delay 5c07ab1e90d2
  baton backfill show flight_delay 5c07ab1e90d2 --json
"""
)
@click.argument("model")
@click.argument("name")
@json_option
def show(model: str, name: str, *, as_json: bool) -> None:
    """Show the backfill NAME of MODEL: what was asked, by whom, which version scored when, and what came of it."""
    found = Catalog(read_settings().need_predictions_url()).one(model, name)
    if as_json:
        echo_json(found)
        return
    click.echo(f"{found.model}: backfill {found.name}, {found.state}, in table {found.where}")
    click.echo(f"  asked by {found.actor} at {rfc3339(found.begun_at)}: {found.asked.period}")
    done = f"{found.done:,} of {counted(found.chunks, 'chunk')}"
    click.echo(f"  {done}, {counted(found.rows, 'row')}, {found.failures:,} not scored")
    click.echo(f"  digest: {found.digest or 'not complete yet'}")
    _echo_spans(found.spans)


@command.command(
    epilog="""Examples:

\b
  baton backfill remove flight_delay 5c07ab1e90d2
"""
)
@click.argument("model")
@click.argument("name")
@json_option
def remove(model: str, name: str, *, as_json: bool) -> None:
    """Take the table of the backfill NAME of MODEL away, and all that is known of it.

    Exit status 1 when it is being run.
    """
    found = Catalog(read_settings().need_predictions_url()).remove(model, name)
    if as_json:
        echo_json(found)
        return
    click.echo(f"{found.model}: backfill {found.name} is gone, with {counted(found.rows, 'row')}")
    sys.exit(0)
