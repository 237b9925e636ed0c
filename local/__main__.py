"""The command line of the local stack: ``python -m local up``."""

import os
import sys

import click

from local.credentials import airflow_passwords_file
from local.errors import StackError
from local.report import all_running, log_files, print_logs, read_states, table
from local.settings import COMPONENTS, StackSettings, read_components, read_settings
from local.stack import START_TIMEOUT_S, Stack


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def group(context: click.Context) -> None:
    """Start, stop and look at the stack on this machine."""
    context.obj = read_settings(os.environ)


@group.command()
@click.option("--without", default="", help=f"Comma-separated components to leave out: {', '.join(COMPONENTS)}.")
@click.option("--timeout-s", default=START_TIMEOUT_S, show_default=True, help="How long to wait until all is ready.")
@click.pass_obj
def up(settings: StackSettings, without: str, timeout_s: float) -> None:
    """Start the stack and wait until it is ready."""
    components = read_components(without)
    _stack(settings).up(components, timeout_s=timeout_s)
    click.echo(table(settings, read_states(settings)))
    click.echo(f"\nEnvironment: . {settings.environment_file}")
    if "airflow" in components:
        passwords = airflow_passwords_file(settings.secrets_dir)
        click.echo(f"Airflow:     {settings.airflow_url} (users admin and viewer, passwords in {passwords})")
    if "mlflow" in components:
        click.echo(f"MLflow:      {settings.mlflow_url} (user admin, password in {settings.environment_file})")
    if "api" in components:
        click.echo(f"API:         {settings.api_url} (token: BATON_API_TOKEN in {settings.environment_file})")


@group.command()
@click.pass_obj
def down(settings: StackSettings) -> None:
    """Stop the stack, gracefully, and leave no process behind."""
    _stack(settings).down()


@group.command()
@click.pass_obj
def status(settings: StackSettings) -> None:
    """Show what runs; exit status 0 only when all does."""
    states = read_states(settings)
    click.echo(table(settings, states) if states else "the stack is down; start it with: make up")
    sys.exit(0 if all_running(states) else 1)


@group.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.option("-n", "--lines", default=40, show_default=True, help="How many lines of each log.")
@click.pass_obj
def logs(settings: StackSettings, name: str | None, *, follow: bool, lines: int) -> None:
    """Show the end of the logs, of one process or of all."""
    print_logs(log_files(settings, name), lines=lines, follow=follow, say=click.echo)


def _stack(settings: StackSettings) -> Stack:
    return Stack(settings, caller=os.environ, say=lambda line: click.echo(f"stack: {line}"))


def main() -> None:
    """Run the command line: exit 0 done, 1 failed."""
    try:
        group(prog_name="python -m local")
    except StackError as error:
        click.echo(f"stack: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
