"""What README and docs say is what the code has."""

import re
import shlex
from pathlib import Path

import click
import pytest

from scoring.cli import group
from scoring.contract.dead_letter import Reason
from scoring.contract.heartbeat import State
from scoring.contract.manifest import FORMAT, Link, Task
from scoring.contract.prediction import CORRELATION_HEADERS, decode_prediction
from scoring.settings import Settings
from training.catalog import load_definition

PROJECT = Path(__file__).parents[3]
PAGES = sorted([PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")])
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def commands_in(page: Path) -> list[list[str]]:
    """Every line of a page's plain blocks that calls ``baton``, and every such call in a sentence."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    calls = [line for line in lines if line.startswith("baton ")]
    calls += re.findall(r"`(baton [^`]+)`", page.read_text())
    return [shlex.split(call.split("#")[0]) for call in calls]


def ids(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def test_there_are_pages_and_commands_to_check() -> None:
    assert len(PAGES) >= 8
    assert sum(len(commands_in(page)) for page in PAGES) >= 15


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    for words in commands_in(page):
        command: click.Command | None = group
        context = click.Context(group)
        rest = words[1:]
        while rest and isinstance(command, click.Group) and not (command.invoke_without_command and rest[0][0] in "-["):
            command = command.get_command(context, rest.pop(0))
        assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.split("=")[0] for word in rest if word.startswith("--")}
        assert used <= known, f"{' '.join(words)}: {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_make_verb_that_a_page_shows_exists(page: Path) -> None:
    verbs = set(re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert shown <= verbs, shown - verbs


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_settings_page_names_every_setting_with_its_default_and_its_description() -> None:
    text = (PROJECT / "docs/reference/settings.md").read_text()
    rows = re.findall(r"^\| `(BATON_\w+(?:<NAME>)?)` \|[^|\n]*\| (.*?) ?\| (.*) \|$", text, re.MULTILINE)
    expected = {
        "BATON_CONNECTIONS__<NAME>" if name == "connections" else f"BATON_{name.upper()}": (
            default_in_the_environment(field.get_default(call_default_factory=True)),
            field.description,
        )
        for name, field in Settings.model_fields.items()
    }
    assert {variable: (default, meaning) for variable, default, meaning in rows} == expected


def default_in_the_environment(value: object) -> str:
    """As somebody would write it there; nothing where a setting has no value of its own."""
    if value is None or value in ({}, ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_messages_page_names_every_reason_and_every_header() -> None:
    text = (PROJECT / "docs/reference/messages.md").read_text()
    _, _, letters = text.partition("**Dead letters**")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", letters, re.MULTILINE)) == {reason.value for reason in Reason}
    assert all(f"`{header}`" in text for header in CORRELATION_HEADERS)


def test_the_messages_page_names_the_format_and_every_link_of_a_manifest() -> None:
    text = (PROJECT / "docs/reference/messages.md").read_text()
    _, _, manifests = text.partition(f"**Manifests** are of format {FORMAT};")
    links, _, _ = manifests.partition("**Dead letters**")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", links, re.MULTILINE)) == {link.value for link in Link}
    assert all(f"`{task.value}`" in links for task in Task)


def test_the_worker_page_names_every_state() -> None:
    text = (PROJECT / "docs/how-to/run-a-worker.md").read_text()
    assert set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE)) == {state.value for state in State}


def test_the_example_of_a_definition_loads_as_it_stands(tmp_path: Path) -> None:
    (source,) = blocks(PROJECT / "docs/how-to/bring-your-own-model.md", "python")
    (tmp_path / "late_parcel.py").write_text(source)
    definition = load_definition(tmp_path, "late_parcel")
    assert definition.name == "late_parcel"
    assert len(source.strip().splitlines()) <= 45


def test_the_example_of_many_sources_loads_as_it_stands(tmp_path: Path) -> None:
    (source,) = blocks(PROJECT / "docs/how-to/pull-from-many-sources.md", "python")
    (tmp_path / "late_parcel.py").write_text(source)
    definition = load_definition(tmp_path, "late_parcel")
    assert [each.title for each in definition.all_sources] == ["*.parquet", "archive", "v1/observations", "deliveries"]
    assert [each.title for each in definition.manifest_sources] == ["*.parquet", "archive", "v1/observations"]


def test_the_prediction_in_the_readme_has_the_contracts_fields() -> None:
    (example,) = blocks(PROJECT / "README.md", "json")
    complete = example.replace("9f0c…", "9f" * 32).replace('"…": "…"', '"visib": 10')
    assert decode_prediction(complete.encode()).sequence == 2
