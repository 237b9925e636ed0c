"""An Airflow that somebody runs already gets Baton by pip and one command, in a fresh environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

PROJECT = Path(__file__).parents[3]
LOCK = PROJECT / "requirements-airflow.lock"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]


class Existing(msgspec.Struct, frozen=True):
    """An environment with Airflow and its home, and a folder of models elsewhere."""

    folder: Path

    def run(self, program: str, *words: str) -> str:
        """What a program of the environment writes; it must succeed."""
        command = [str(self.folder / "venv" / "bin" / program), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self._variables(), cwd=self.folder
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def list(self, *words: str) -> Any:
        """What a command of Airflow lists."""
        return json.loads(self.run("airflow", *words, "--output", "json"))

    def _variables(self) -> dict[str, str]:
        home = self.folder / "airflow"
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))},
            "PATH": os.pathsep.join([str(self.folder / "venv" / "bin"), os.environ.get("PATH", os.defpath)]),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "BATON_MODELS_DIR": str(self.folder / "baton" / "models"),
        }


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Existing:
    """Airflow with a database of its own, there before Baton comes."""
    folder = tmp_path_factory.mktemp("existing")
    found = Existing(folder)
    (locked,) = re.findall(r"^(apache-airflow==\S+)", LOCK.read_text(), re.MULTILINE)
    _uv("venv", "--python", sys.executable, str(folder / "venv"))
    _install(folder, locked)
    (folder / "airflow" / "dags").mkdir(parents=True)
    found.run("airflow", "db", "migrate")
    return found


@pytest.fixture(scope="module")
def with_baton(existing: Existing) -> Existing:
    """The same, once Baton is there as docs/how-to/install-into-an-existing-airflow.md says."""
    folder = existing.folder
    _uv("build", "--wheel", "--no-build-isolation", "--out-dir", str(folder / "dist"), str(PROJECT))
    (wheel,) = (folder / "dist").glob("*.whl")
    _install(folder, f"baton[training] @ {wheel.as_uri()}")
    shutil.copytree(PROJECT / "models", folder / "baton" / "models", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "expectations", folder / "baton" / "expectations")
    existing.run("baton", "airflow", "install", "--dags-folder", str(folder / "airflow" / "dags"))
    existing.run("airflow", "dags", "reserialize")
    return existing


def test_its_dags_are_there_without_an_error(with_baton: Existing) -> None:
    assert {dag["dag_id"] for dag in with_baton.list("dags", "list")} >= {"train_flight_delay", "baton_reconcile"}
    assert "No data found" in with_baton.run("airflow", "dags", "list-import-errors")


def test_its_plugin_is_found_as_an_entry_point(with_baton: Existing) -> None:
    (plugin,) = [found for found in with_baton.list("plugins") if found["name"] == "baton"]
    assert plugin["source"].startswith("baton==")


def test_airflow_has_the_version_that_it_had_and_nothing_contradicts_anything(with_baton: Existing) -> None:
    (locked,) = re.findall(r"^apache-airflow==(\S+)", LOCK.read_text(), re.MULTILINE)
    told = with_baton.run("python", "-c", "from importlib.metadata import version; print(version('apache-airflow'))")
    assert told.strip() == locked
    _uv("pip", "check", "--python", str(with_baton.folder / "venv/bin/python"))


def test_definitions_and_suites_are_read_from_the_folder_that_the_setting_names(with_baton: Existing) -> None:
    script = (
        "import json, os, pathlib\n"
        "from training.catalog import load_definitions\n"
        "found = load_definitions(pathlib.Path(os.environ['BATON_MODELS_DIR']))\n"
        "print(json.dumps({name: definition.suite for name, definition in found.items()}))\n"
    )
    suites = json.loads(with_baton.run("python", "-c", script))
    assert suites["flight_delay"] == str(with_baton.folder / "baton/expectations/flight_delay/snapshot.json")


def _install(folder: Path, *wanted: str) -> None:
    python = str(folder / "venv" / "bin" / "python")
    _uv("pip", "install", "--no-config", "--python", python, "--constraints", str(LOCK), *wanted)


def _uv(*words: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
