"""``baton dead-letters``: list, show, export and replay the records that could not be scored."""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from scoring.console import (
    EXIT_REFUSED,
    Moment,
    default_actor,
    echo_json,
    echo_lines,
    json_option,
    topics_of,
    topics_option,
)
from scoring.contract.clock import EPOCH
from scoring.contract.dead_letter import Reason
from scoring.contract.errors import BatonError, ConfigurationError
from scoring.contract.replay import Note
from scoring.letters.exporting import export as write_lines
from scoring.letters.finding import Selection
from scoring.letters.letter import Letter, content_of
from scoring.letters.originals import Gone
from scoring.letters.replaying import MAXIMUM_REPLAYS, Order, Summary
from scoring.letters.session import Session
from scoring.letters.telling import count_lines, is_put_back, letter_lines, list_lines, summary_lines
from scoring.settings import read_settings


class Place(click.ParamType[tuple[int, int]]):
    """A place in the dead-letter topic, ``PARTITION:OFFSET``."""

    name = "partition:offset"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read it."""
        partition, _, offset = str(value).partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            self.fail(f"{value!r} is not a place such as 0:1234", param, ctx)
        return int(partition), int(offset)


_REASONS = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in Reason]),
    help="Only with this reason; may be repeated.",
)


class Since(Moment):
    """A moment that Kafka has a timestamp for."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        found = super().convert(value, param, ctx)
        if found < EPOCH:
            self.fail(f"{value!r} lies before 1970, where Kafka has no timestamps", param, ctx)
        return found


_SINCE = click.option("--since", type=Since(), help="Only those that were made at this moment or later.")
_PARTITIONS = click.option(
    "--partition", "partitions", multiple=True, type=click.IntRange(min=0), help="Only of this one; may be repeated."
)


@click.group()
def command() -> None:
    """Records that could not be scored: find them, look at them, and put them back after what was wrong is mended."""


@command.command(
    "list",
    epilog="""Examples:

\b
  baton dead-letters list flight_delay
  baton dead-letters list flight_delay --reason missing-field --since 2026-03-01T00:00:00Z
  baton dead-letters list flight_delay --by reason --open
""",
)
@click.argument("model")
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=1), help="How many, the newest.")
@click.option("--by", type=click.Choice(["reason"]), help="Count all of them by this instead of listing some.")
@click.option("--open", "only_open", is_flag=True, help="Only those that were not put back yet.")
@_REASONS
@_SINCE
@_PARTITIONS
@topics_option
@json_option
def list_command(
    model: str,
    *,
    last: int,
    by: str | None,
    only_open: bool,
    reasons: tuple[str, ...],
    since: datetime | None,
    partitions: tuple[int, ...],
    named_topics: str | None,
    as_json: bool,
) -> None:
    """List the dead letters of MODEL, newest first, without their content.

    A place, PARTITION:OFFSET, is one in the dead-letter topic, as `show` and `replay` take it. An origin is the place
    of the record in the input topic, as `baton explain` takes it. Put back are those of which baton.replays has a note.
    """
    selection = _selection(reasons, since, partitions)
    with _session(model, named_topics) as session:
        notes = session.noted() if only_open else _noted(session, wanted=by is None)
        letters = session.letters(msgspec.structs.replace(selection, put_back=notes if only_open else frozenset()))
        if by is not None:
            _echo_counts(Counter(letter.told.reason.value for letter in letters.all()), as_json=as_json)
        else:
            _echo_letters(letters.newest(last), notes, as_json=as_json)
        _warn_of(letters.strangers, session.topics.dead_letters)


@command.command(
    epilog="""Examples:

\b
  baton dead-letters show flight_delay 0 1234
  baton dead-letters show flight_delay 0 1234 --content
  baton dead-letters show flight_delay 0 1234 --original --json
"""
)
@click.argument("model")
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--content", is_flag=True, help="Also the record's key, value and headers, as text or base64.")
@click.option("--original", is_flag=True, help="The same; where it is stored by reference, from the input topic.")
@topics_option
@json_option
def show(
    model: str,
    partition: int,
    offset: int,
    *,
    content: bool,
    original: bool,
    named_topics: str | None,
    as_json: bool,
) -> None:
    """Show the dead letter of MODEL at PARTITION and OFFSET of the dead-letter topic.

    It says whether and by whom the record was put back. The record's content is only shown when it is asked for. Exit
    status 1 when the original was asked for and is gone.
    """
    with _session(model, named_topics) as session:
        letter = session.letter(partition, offset)
        found = session.original(letter) if original else None
        put_back = _put_back(session, letter)
    shown = {**letter.summary(), "put_back": put_back}
    if isinstance(found, Gone):
        shown["gone"] = found.sentence
    elif found is not None:
        shown["record"] = content_of(found.key, found.value, found.headers)
    elif content:
        shown["record"] = _kept(letter)
    if as_json:
        echo_json(shown)
    else:
        echo_lines(letter_lines(letter, shown, datetime.now(UTC)))
    sys.exit(EXIT_REFUSED if isinstance(found, Gone) else 0)


@command.command(
    epilog="""Examples:

\b
  baton dead-letters export flight_delay --output letters.jsonl
  baton dead-letters export flight_delay --reason wrong-type --output - | jq .record.value.text
"""
)
@click.argument("model")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File; - is the output.")
@_REASONS
@_SINCE
@_PARTITIONS
@topics_option
def export(
    model: str,
    *,
    output: Path,
    reasons: tuple[str, ...],
    since: datetime | None,
    partitions: tuple[int, ...],
    named_topics: str | None,
) -> None:
    """Write the dead letters of MODEL to a file, one JSON document a line, with their records.

    Nothing is lost: key, value and headers stand there as text where they are UTF-8, and otherwise as base64. Exit
    status 1 when a record that is stored by reference is gone.
    """
    with _session(model, named_topics) as session:
        letters = session.letters(_selection(reasons, since, partitions))
        try:
            with click.open_file(str(output), "wb") as file:
                done = write_lines(letters.all(), session.original, file.write)
        except OSError as error:
            raise ConfigurationError(f"--output: cannot write {output}: {error.strerror}") from error
        _warn_of(letters.strangers, session.topics.dead_letters)
    gone = f", {done.without_record} of them without their record, which is gone" if done.without_record else ""
    click.echo(f"{done.letters} dead letters of {model} written{gone}", err=True)
    sys.exit(EXIT_REFUSED if done.without_record else 0)


@command.command(
    epilog="""Examples:

\b
  baton dead-letters replay flight_delay --all --dry-run --why "what would it do?"
  baton dead-letters replay flight_delay --reason lookup-miss --why "the airports table was filled"
  baton dead-letters replay flight_delay --offset 0:1234 --offset 2:77 --why "asked for by the producer" --yes
"""
)
@click.argument("model")
@click.option("--all", "everything", is_flag=True, help="All dead letters that there are now.")
@_REASONS
@click.option("--offset", "places", multiple=True, type=Place(), help="The one at this place; may be repeated.")
@_SINCE
@click.option("--why", required=True, help="For those who read the notes of replays later.")
@click.option("--actor", help="Who replays; by default the user and host that run the command.")
@click.option(
    "--again", is_flag=True, help=f"Also records that were replayed {MAXIMUM_REPLAYS} times and failed again."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be put back.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@topics_option
@json_option
def replay(
    model: str,
    *,
    everything: bool,
    reasons: tuple[str, ...],
    places: tuple[tuple[int, int], ...],
    since: datetime | None,
    why: str,
    actor: str | None,
    again: bool,
    dry_run: bool,
    yes: bool,
    named_topics: str | None,
    as_json: bool,
) -> None:
    """Put the records of dead letters of MODEL back into its input topic, each at most once.

    Key, value and the record's own headers are as they were; two headers say which dead letter it was. What was put
    back is noted in the topic baton.replays by the same transaction, so that no kill and no second replay at the same
    time puts a record back twice. A record that fails again becomes another dead letter. Exit status 1 when some that
    were asked for could not be put back.
    """
    if everything == bool(reasons or places):
        raise click.UsageError("say which dead letters: --all, or --reason, or --offset")
    with _session(model, named_topics) as session:
        order = session.order(actor=actor or default_actor(), why=why, again=again)
        letters = session.letters(_selection(reasons, since, (), places))
        done = session.plan(letters, order)
        if not dry_run and done.replayed and _agreed(done, order, yes=yes):
            done = session.replay(letters, order, clock=lambda: datetime.now(UTC), progress=_tell_progress)
            _echo_summary(done, order, "put back", as_json=as_json)
        else:
            _echo_summary(done, order, "would be put back", as_json=as_json)
    sys.exit(EXIT_REFUSED if done.left else 0)


def _put_back(session: Session, letter: Letter) -> Note | bool | str:
    """The note that a letter was put back, or why nobody can tell: the letter is shown all the same."""
    try:
        return session.put_back(letter)
    except BatonError as error:
        return f"whether it was put back cannot be told: {error}"


def _noted(session: Session, *, wanted: bool) -> frozenset[bytes] | None:
    """The notes of what was put back; letters are listed all the same where nobody can tell."""
    if not wanted:
        return None
    try:
        return session.noted()
    except BatonError as error:
        click.echo(f"baton: which were put back cannot be told: {error}", err=True)
        return None


def _session(model: str, named: str | None) -> Session:
    settings = read_settings()
    return Session(settings.need_kafka(), model, topics_of(settings, model, named))


def _agreed(planned: Summary, order: Order, *, yes: bool) -> bool:
    if yes or not sys.stdin.isatty():
        return True
    question = f"put {planned.replayed} records back into {order.input_topic}?"
    click.confirm(question, abort=True, err=True)
    return True


def _selection(
    reasons: tuple[str, ...],
    since: datetime | None,
    partitions: tuple[int, ...],
    places: tuple[tuple[int, int], ...] = (),
) -> Selection:
    return Selection(
        reasons=frozenset(map(Reason, reasons)),
        since=since,
        partitions=frozenset(partitions),
        places=frozenset(places),
    )


def _kept(letter: Letter) -> object:
    """The record as the letter keeps it: by reference there is nothing of it but the reference."""
    if letter.reference is not None:
        return {"reference": letter.reference}
    return content_of(letter.key, letter.value, letter.headers)


def _tell_progress(done: Summary) -> None:
    click.echo(f"{done.replayed} put back", err=True)


def _warn_of(strangers: int, topic: str) -> None:
    if strangers:
        click.echo(f"baton: {strangers} records of {topic} are no dead letters and were left out", err=True)


def _echo_counts(counts: Counter[str], *, as_json: bool) -> None:
    if as_json:
        echo_json(dict(counts.most_common()))
    elif counts:
        echo_lines(count_lines(counts))
    else:
        click.echo("there is no dead letter", err=True)


def _echo_letters(letters: list[Letter], notes: frozenset[bytes] | None, *, as_json: bool) -> None:
    if as_json:
        echo_json([{**letter.summary(), "put_back": is_put_back(letter, notes)} for letter in letters])
    elif letters:
        echo_lines(list_lines(letters, datetime.now(UTC), notes))
    else:
        click.echo("there is no dead letter", err=True)


def _echo_summary(done: Summary, order: Order, verb: str, *, as_json: bool) -> None:
    if as_json:
        echo_json({"put_back": verb == "put back", "replayed": done.replayed, "left": done.left, "summary": done})
        return
    echo_lines(summary_lines(done, order, verb))
