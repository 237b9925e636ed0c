"""``baton airflow``: Baton in an Airflow that somebody runs already."""

from pathlib import Path

import click

from baton_airflow.install import State, install
from scoring.console import echo_json, json_option
from scoring.settings import read_settings


@click.group()
def command() -> None:
    """Put Baton into an Airflow that runs already."""


@command.command(
    "install",
    epilog="""Examples:

\b
  baton airflow install --dags-folder /opt/airflow/dags --dry-run
  baton airflow install --dags-folder /opt/airflow/dags
""",
)
@click.option(
    "--dags-folder",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of Airflow's DAGs (core.dags_folder).",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@json_option
def install_command(folder: Path, *, dry_run: bool, as_json: bool) -> None:
    """Write the files that make the DAGs into Airflow's folder of DAGs.

    They are those of the repository's dags/: one DAG for each model definition, and one that repairs. Airflow finds the
    plugin by itself, in the installed package. Run it again after an upgrade: it replaces what it wrote, and never a
    file that is somebody else's or was changed since. Definitions are read from BATON_MODELS_DIR.
    """
    placed = install(folder, writing=not dry_run)
    if as_json:
        return echo_json(placed)
    for file in placed:
        click.echo(f"{file.path}: {_said(file.state, dry_run=dry_run)}")
    models = read_settings().models_dir
    where = (
        f"BATON_MODELS_DIR, {models}"
        if models
        else f"{folder.resolve().parent / 'models'}: BATON_MODELS_DIR is not set"
    )
    return click.echo(f"model definitions are read from {where}")


def _said(state: State, *, dry_run: bool) -> str:
    if state is State.SAME:
        return "is up to date"
    return f"would be {'written' if state is State.NEW else 'replaced'}" if dry_run else state.value
