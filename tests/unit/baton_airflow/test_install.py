"""The DAG files that are put into somebody's Airflow: Baton's own, and never over anybody else's."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from baton_airflow.install import State, dag_files, install
from scoring.cli import group
from scoring.contract.errors import ConfigurationError

PROJECT = Path(__file__).parents[3]


def test_every_dag_file_of_the_repository_is_written_as_it_stands(tmp_path: Path) -> None:
    placed = install(tmp_path)
    assert [Path(file.path).name for file in placed] == [path.name for path in sorted((PROJECT / "dags").glob("*.py"))]
    assert {file.state for file in placed} == {State.NEW}
    for path in (PROJECT / "dags").glob("*.py"):
        first, _, rest = (tmp_path / path.name).read_text().partition("\n")
        assert first.startswith("# Written by `baton airflow install` of Baton")
        assert rest == path.read_text()


def test_a_second_call_finds_them_up_to_date_and_an_upgrade_replaces_them(tmp_path: Path) -> None:
    install(tmp_path)
    assert {file.state for file in install(tmp_path)} == {State.SAME}
    newer = dag_files()["baton.py"]
    older = newer.replace("of Baton ", "of Baton 0.0.1-", 1)
    (tmp_path / "baton.py").write_text(older)
    assert [file.state for file in install(tmp_path)] == [State.REPLACED, State.SAME]
    assert (tmp_path / "baton.py").read_text() == newer


def test_files_that_are_somebody_elses_or_were_changed_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "baton.py").write_text("print('mine')\n")
    changed = dag_files()["baton_mistakes.py"] + "# a change\n"
    (tmp_path / "baton_mistakes.py").write_text(changed)
    with pytest.raises(ConfigurationError, match=r"baton\.py, .*baton_mistakes\.py: not written by this command"):
        install(tmp_path)
    assert (tmp_path / "baton.py").read_text() == "print('mine')\n"
    assert (tmp_path / "baton_mistakes.py").read_text() == changed


def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no folder .*core\.dags_folder"):
        install(tmp_path / "dags")
    assert not (tmp_path / "dags").exists()


def test_the_command_says_what_it_would_write_and_then_what_it_wrote(tmp_path: Path) -> None:
    words = ["airflow", "install", "--dags-folder", str(tmp_path)]
    would = CliRunner().invoke(group, [*words, "--dry-run"])
    assert would.stdout.count("would be written") == 2
    assert f"read from {tmp_path.parent / 'models'}: BATON_MODELS_DIR is not set" in would.stdout
    assert list(tmp_path.iterdir()) == []
    did = CliRunner().invoke(group, words, env={"BATON_MODELS_DIR": "/srv/models"})
    assert f"{tmp_path / 'baton.py'}: new" in did.stdout
    assert "read from BATON_MODELS_DIR, /srv/models" in did.stdout
    again = CliRunner().invoke(group, [*words, "--json"])
    assert {file["state"] for file in json.loads(again.stdout)} == {"unchanged"}
