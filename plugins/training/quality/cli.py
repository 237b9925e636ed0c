"""``baton quality``: how good the candidates of a model were, interval by interval."""

from pathlib import Path

import click
import msgspec

from scoring.console import echo_json, echo_table, json_option
from scoring.contract.errors import ConfigurationError
from scoring.registry.port import RunInfo
from scoring.settings import read_settings
from training.quality.intervals import LIMIT_RUNS, Interval, intervals

_HEADINGS = ("held out", "rows", "value", "range", "against", "for", "outcome")


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The answer as JSON."""

    model: str
    metric: str
    intervals: list[Interval]


@click.command(
    epilog="""Examples:

\b
  baton quality flight_delay
  baton quality flight_delay --metric log_loss --page quality.html
  baton quality flight_delay --json
"""
)
@click.argument("model")
@click.option("--metric", help="By default the one that the gates compare with the champion.")
@click.option(
    "--page", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write the curve as a page, too."
)
@json_option
def command(model: str, metric: str | None, output: Path | None, *, as_json: bool) -> None:
    """Show what each run of MODEL measured on its holdout, in order of the intervals.

    Runs of all kinds count: by the schedule, by hand, dry runs and backfills; of several for one interval the newest.
    To fill the past with candidates, start a backfill of the model's DAG in Airflow: it promotes nothing.
    """
    chosen, found = intervals(_runs(model), metric)
    if output is not None:
        from training.quality.drawing import page

        output.write_text(page(model, chosen, found), encoding="utf-8")
    if as_json:
        echo_json(Quality(model=model, metric=chosen, intervals=found))
        return
    from training.quality.drawing import cells

    click.echo(f"{model}: {chosen}")
    echo_table(_HEADINGS, [cells(each) for each in found])


def _runs(model: str) -> list[RunInfo]:
    uri = read_settings().need_registry_uri()
    if uri.startswith("file:"):
        raise ConfigurationError("a registry in a folder keeps no runs; set BATON_REGISTRY_URI to an MLflow server")
    from scoring.registry.mlflow_registry import MlflowRegistry

    found = MlflowRegistry(uri).recent_runs(model, LIMIT_RUNS)
    if not found:
        raise ConfigurationError(f"the registry has no run of {model}; start one in Airflow, or a backfill")
    return found
