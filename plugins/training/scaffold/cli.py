"""``baton new``: the command."""

import re
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scoring.console import echo_json, json_option
from scoring.contract.errors import ConfigurationError
from scoring.settings import read_settings

if TYPE_CHECKING:
    from training.scaffold.making import Made

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Duration(click.ParamType[timedelta]):
    """A length of time such as 24h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d+)([mhdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is no length of time; write one such as 90m, 24h, 7d or 2w", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.command(
    epilog="""Examples:

\b
  baton new late_parcel --from parcels.csv --label days_late --at-least 1 --known-after 7d
  baton new late_parcel --from-table warehouse parcels --label days_late --at-least 1
  baton new fare --from trips.parquet --label fare --regression --yes
"""
)
@click.argument("name")
@click.option(
    "--from", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV or Parquet file."
)
@click.option("--from-table", "source", nargs=2, metavar="CONNECTION TABLE", help="Connection and table instead.")
@click.option("--key", help="Column that identifies a record.")
@click.option("--event-time", help="Column with the moment of the prediction.")
@click.option("--label", help="Column to be predicted.")
@click.option("--at-least", type=float, help="Predict whether the label reaches this number.")
@click.option("--classes", help="Predict one of these values of the label, separated by commas.")
@click.option("--regression", is_flag=True, help="Predict the label as a number, however few values it has.")
@click.option("--known-after", type=Duration(), help="How long after the event the label is known, such as 24h or 7d.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times without an offset, and of hours.")
@click.option("--connection", help="Name of the file's connection; by default that of the model.")
@click.option("--models", type=click.Path(file_okay=False, path_type=Path), help="Folder of the definitions.")
@click.option(
    "--database", type=click.Path(dir_okay=False, path_type=Path), help="Where a file is loaded into: var/NAME.db."
)
@click.option("--in-place", is_flag=True, help="Read the file where it is, and load it into no database.")
@click.option("--yes", is_flag=True, help="Ask nothing, also on a terminal.")
@click.option("--force", is_flag=True, help="Write over what is there.")
@json_option
def command(
    name: str,
    file: Path | None,
    source: tuple[str, str] | None,
    key: str | None,
    event_time: str | None,
    label: str | None,
    at_least: float | None,
    classes: str | None,
    *,
    regression: bool,
    known_after: timedelta | None,
    zone: str,
    connection: str | None,
    models: Path | None,
    database: Path | None,
    in_place: bool,
    yes: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a first definition and a first suite of the model NAME, guessed from a file or a table.

    Guesses types, key, event time and label, leaves out ids and free text, declares columns that look like leaks as
    known later, and takes limits for the gates from a quick fit. A file becomes a table of a SQLite database of its
    own, so that values may be written in many forms; with --in-place the definition names the file itself, which may
    then grow, and whose values must be plain. Says what it guessed and why; on a terminal it asks where that is
    unclear. Exit status 2 when it cannot go on without an answer; every question is told at once.
    """
    settings = read_settings(models_dir=models)
    folder = settings.models_dir or Path("models")
    try:
        from training.check.running import quiet
        from training.scaffold.making import Wanted, make
        from training.scaffold.roles import Told
    except ImportError as error:
        raise ConfigurationError(
            f"baton new needs the training side: pip install 'baton[training]' ({error})"
        ) from error
    told = Told(
        key=key,
        event_time=event_time,
        label=label,
        at_least=at_least,
        classes=tuple(filter(None, (word.strip() for word in (classes or "").split(",")))),
        regression=regression,
        known_after=known_after,
    )
    wanted = Wanted(
        name=name,
        models=folder,
        file=file,
        table=source[1] if source else None,
        connection=source[0] if source else connection or name,
        database=database or folder.resolve().parent / "var" / f"{name}.db",
        zone=zone,
        told=told,
        force=force,
        in_place=in_place,
    )
    asking = sys.stdin.isatty() and not yes and not as_json
    with quiet():
        made = make(wanted, settings, _ask if asking else None)
    if as_json:
        echo_json(made)
    else:
        for line in _lines(made):
            click.echo(line)


def _ask(question: str, choices: Sequence[str], default: str | None) -> str:
    return str(click.prompt(question, type=click.Choice(list(choices)), default=default, err=True))


def _lines(made: "Made") -> Iterator[str]:
    yield f"{made.model}: guessed from {made.rows:,} rows"
    for guess in made.guesses:
        yield f"  {guess.what}: {guess.value}"
        yield f"      {guess.why}"
    if made.warning:
        yield f"  warning: {made.warning}"
    yield ""
    yield f"wrote {made.definition}"
    yield f"wrote {made.suite}"
    yield ""
    yield "What to do next:"
    if made.setting:
        yield f"  export {made.setting}"
    yield f"  read {made.definition}: is everything that it reads known at the event?"
    yield f"  baton check {made.model}"
