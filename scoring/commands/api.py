"""``baton api``: scoring on request, over HTTP."""

import os
from pathlib import Path

import click

from scoring.api.openapi import document
from scoring.api.tokens import Scope, make_token
from scoring.commands.worker import SINGLE_THREADED
from scoring.console import echo_json, json_option
from scoring.contract.errors import ConfigurationError
from scoring.service.ending import leave
from scoring.settings import read_settings

_SCOPES = [scope.value for scope in Scope]


@click.group(
    invoke_without_command=True,
    epilog="""Examples:

\b
  baton api --models flight_delay
  baton api --processes 4 --port 9580 --models flight_delay
""",
)
@click.option("--deployment", help="Name of the set of processes that share caches with workers (BATON_DEPLOYMENT).")
@click.option("--slot", type=int, help="The first process's place in its deployment on this host (BATON_SLOT).")
@click.option("--models", help="Comma-separated names of the models to serve (BATON_MODELS).")
@click.option("--address", help="IP address to serve on (BATON_API_ADDRESS).")
@click.option("--port", type=click.IntRange(min=0), help="Port to serve on (BATON_API_PORT); 0 takes a free one.")
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    help="Supervise that many processes on one port (BATON_API_PROCESSES); 0 is one, unsupervised.",
)
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PEM file of the certificate to show (BATON_API_CERTIFICATE).",
)
@click.option("--key", type=click.Path(dir_okay=False, path_type=Path), help="PEM file of its key (BATON_API_KEY).")
@click.pass_context
def command(
    context: click.Context,
    deployment: str | None,
    slot: int | None,
    models: str | None,
    address: str | None,
    port: int | None,
    processes: int | None,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Score on request with the versions that score the stream, until told to stop.

    Waits for the broker and for a first notice, follows the notices, swaps to promoted bundles between two
    micro-batches. Every request shows a token (`baton api token`). SIGTERM answers what is in hand. Exit status 70 asks
    for a restart; with --processes a supervisor does that.
    """
    if context.invoked_subcommand is not None:
        return
    os.environ.update({name: value for name, value in SINGLE_THREADED.items() if name not in os.environ})
    settings = read_settings(
        deployment=deployment,
        slot=slot,
        models=models,
        api_address=address,
        api_port=port,
        api_processes=processes,
        api_certificate=certificate,
        api_key=key,
    )
    try:
        from scoring.api.life import live, supervise  # noqa: PLC0415 - 100 MB
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"baton api needs what baton[api] installs: pip install 'baton[api]' ({error})"
        ) from error

    if settings.api_processes:
        leave(supervise(settings))
    live(settings)


@command.command(
    epilog="""Examples:

\b
  baton api token checkout --scope score
  baton api token dashboards --scope read --scope score --json
"""
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    required=True,
    help="What it allows; several may be.",
)
@json_option
def token(name: str, scopes: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Make a token called NAME, add its digest to the file of tokens, and write it to standard output this once.

    Running processes know it within a second. To take a token away, delete its entry from the file.
    """
    path = read_settings().need_tokens_file()
    value = make_token(path, name, [Scope(scope) for scope in scopes])
    if as_json:
        echo_json({"name": name, "scopes": scopes, "token": value})
    else:
        click.echo(value)


@command.command(
    epilog="""Examples:

\b
  baton api openapi --json
"""
)
@json_option
def openapi(as_json: bool) -> None:  # noqa: FBT001, ARG001 - it writes JSON anyway
    """Write the API's description in OpenAPI 3.1."""
    echo_json(document())
