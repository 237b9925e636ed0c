"""``baton check``: the command."""

import sys
from pathlib import Path

import click

from scoring.console import EXIT_REFUSED, echo_json, json_option
from scoring.contract.errors import ConfigurationError
from scoring.settings import read_settings

SAMPLE_ROWS = 20_000


@click.command(
    epilog="""Examples:

\b
  baton check flight_delay
  baton check flight_delay --sample 100000 --report report.html
  baton check flight_delay --models models --json
"""
)
@click.argument("name")
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the definitions; by default BATON_MODELS_DIR, or models/ here.",
)
@click.option(
    "--sample",
    "rows",
    default=SAMPLE_ROWS,
    show_default=True,
    type=click.IntRange(min=0),
    help="So many rows at most, spread over the interval; 0 takes all.",
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots for people, too."
)
@json_option
def command(name: str, models: Path | None, *, rows: int, report: Path | None, as_json: bool) -> None:
    """Check the model NAME: its definition, its data, and a sample of them through the whole pipeline.

    Tells every mistake of the definition with its line and what to do. Then it takes a sample of the source through
    pull, suite, fit, gates and bundle, and scores records with it as a worker does, with nothing but the databases:
    no Airflow, Kafka, registry or ledger. It looks for leaks, for columns that change between training and holdout,
    for lookups that answer nothing, for keys that come twice. Nothing is promoted and nothing is kept. Exit status 1
    when something must be mended; warnings are not that.
    """
    settings = read_settings(models_dir=models)
    folder = settings.models_dir or Path("models")
    try:
        from training.check.running import run
    except ImportError as error:
        raise ConfigurationError(
            f"baton check needs the training side: pip install 'baton[training]' ({error})"
        ) from error
    checked, lines, page = run(folder, name, settings, rows, tell=None if as_json else _tell)
    if report is not None:
        report.write_text(page(), encoding="utf-8")
    if as_json:
        echo_json(checked)
    else:
        for line in lines:
            click.echo(line)
    sys.exit(0 if checked.fine else EXIT_REFUSED)


def _tell(step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{step} …", err=True)
