"""The page of all commands, made from the commands: ``python -m tests.support.commands_page`` writes it anew."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from scoring.cli import group

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
INTRODUCTION = """\
# Commands

Every command of `baton` with its options, as `--help` tells them; a test holds this page against the code
(`python -m tests.support.commands_page` writes it anew). What a command needs to know of its surroundings comes from
[settings](settings.md).

Exit status 0: done. 1: failed, refused, or something is not as it must be; the last line on standard error says why.
2: wrong usage or a wrong setting. `baton worker`, `baton api` and `baton sink` also end with 70, which asks for a
restart. With `--json` standard output holds one JSON document and nothing else.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_sections(group, "baton")])


def _sections(command: click.Command, path: str) -> Iterator[str]:
    # With the settings that commands get in use: a command keeps the help option that it is first asked for.
    context = click.Context(command, info_name=path, **group.context_settings)
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield from _section(command, path, context)
        elif path != "baton":
            yield f"## `{path}`\n\n{_help(command)}\n"
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from _sections(found, f"{path} {name}")
        return
    yield from _section(command, path, context)


def _section(command: click.Command, path: str, context: click.Context) -> Iterator[str]:
    level = "##" if path.count(" ") == 1 else "###"
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"{level} `{path}`\n\n```\n{path} {pieces}\n```\n\n{_help(command)}\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        rows = [f"| {_names(option)} | {_meaning(option)} |" for option in options]
        yield "\n".join(["| option | meaning |", "|---|---|", *rows, ""])
    if command.epilog:
        examples = [line.strip() for line in command.epilog.splitlines() if line.strip().startswith("baton ")]
        yield "\n".join(["```", *examples, "```", ""])


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _names(option: click.Option) -> str:
    value = "" if option.is_flag else f" {_value(option)}"
    return ", ".join(f"`{name}{value}`" for name in option.opts)


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return " / ".join(option.type.choices)
    return option.type.name.upper().split(" ")[0]


def _meaning(option: click.Option) -> str:
    notes = ["Required."] if option.required else []
    if isinstance(option.type, click.IntRange | click.FloatRange) and option.type.min is not None:
        notes.append(f"At least {option.type.min}.")
    if option.show_default and option.default is not None:
        notes.append(f"Default: {option.default}.")
    return " ".join([(option.help or "").replace("|", "\\|"), *notes])


if __name__ == "__main__":
    PAGE.write_text(page())
