"""The one command line, ``baton``. Each command is a module that is imported only when it is called."""

import importlib
import os
import pkgutil
import sys
from importlib.metadata import entry_points

import click

from scoring import __version__, commands
from scoring.contract.errors import BatonError, ConfigurationError

ENTRY_POINTS = "baton.commands"
EXIT_FAILED = 1
EXIT_USAGE = 2


class LazyGroup(click.Group):
    """Finds commands in ``scoring.commands`` and in other distributions' entry points, and imports them on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        others = {point.name for point in entry_points(group=ENTRY_POINTS)}
        return sorted(_own() | others | set(super().list_commands(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None. Nobody else's replaces one of Baton's own."""
        if cmd_name in _own():
            return _as_command(importlib.import_module(f"scoring.commands.{cmd_name.replace('-', '_')}").command)
        for point in entry_points(group=ENTRY_POINTS, name=cmd_name):
            return _as_command(point.load())
        return super().get_command(ctx, cmd_name)


def _own() -> set[str]:
    return {module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__)}


def _as_command(found: object) -> click.Command:
    if not isinstance(found, click.Command):
        raise ConfigurationError(f"{found!r} is registered as a command of baton but is not one")
    return found


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="baton")
def group() -> None:
    """Baton hands a newly trained model to a running stream scorer without stopping it and without losing a record.

    Settings come from variables BATON_…; a local stack writes them to var/stack.env.
    """


def main() -> None:
    """Run the command line: exit 0 done, 1 failed or refused, 2 wrong usage or configuration."""
    # Baton has no use for plugins of pydantic, and looking for them reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        group(prog_name="baton")
    except ConfigurationError as error:
        click.echo(f"baton: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except BatonError as error:
        click.echo(f"baton: {error}", err=True)
        sys.exit(EXIT_FAILED)
