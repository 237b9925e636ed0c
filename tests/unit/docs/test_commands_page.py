"""The page of commands is what the commands say."""

import click

from scoring.cli import group
from tests.support.commands_page import PAGE, page


def leaves(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, inner in found if inner for leaf in leaves(inner, f"{path} {name}")]


def test_the_page_is_what_the_commands_say_now() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.support.commands_page"


def test_every_command_with_its_options_and_an_example_stands_on_the_page() -> None:
    text = PAGE.read_text()
    found = leaves(group, "baton")
    assert len(found) >= 17
    for path, command in found:
        assert f"# `{path}`\n\n```\n{path} " in text
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        for option in options:
            assert option.help, f"{path} {option.opts} has no word of explanation"
            assert all(f"`{name}" in text for name in option.opts)


def test_every_command_that_answers_a_question_or_decides_has_json() -> None:
    silent = {
        "baton worker",
        "baton sink",
        "baton score",
        "baton send",
        "baton tail",
        "baton dead-letters export",
    }  # they write JSON anyway, or nothing
    with_json = {path for path, command in leaves(group, "baton") if any("--json" in p.opts for p in command.params)}
    assert {path for path, _ in leaves(group, "baton")} - with_json == silent
