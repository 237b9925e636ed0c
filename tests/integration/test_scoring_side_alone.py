"""The scoring side installs alone: no Airflow, Great Expectations, scikit-learn or MLflow server, and it scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from scoring import commands
from scoring.scorer.probed import probe_command, read_answer
from tests.support.bundles import make_bundle, score_of, small_record

PROJECT = Path(__file__).parents[2]
UNWANTED = ("airflow", "great_expectations", "sklearn", "pandas", "flask", "onnx", "skl2onnx", "matplotlib", "pytest")
# Imports every module and writes what each lacks: the name of a module, or nothing.
IMPORTING = """
import importlib, json, pkgutil, scoring
names = [module.name for module in pkgutil.walk_packages(scoring.__path__, "scoring.")]
found = {}
for name in names:
    if name.endswith("__main__") or ".migrations" in name:
        continue
    try:
        importlib.import_module(name)
        found[name] = ""
    except ModuleNotFoundError as error:
        found[name] = error.name
print(json.dumps(found))
"""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and the scoring side's lock, nothing else; returns its folder."""
    folder = tmp_path_factory.mktemp("alone")
    _run("uv", "build", "--wheel", "--no-build-isolation", "--out-dir", str(folder / "dist"), str(PROJECT))
    _run("uv", "venv", "--python", sys.executable, str(folder / "venv"))
    python = str(folder / "venv/bin/python")
    _run("uv", "pip", "sync", "--python", python, "--require-hashes", str(PROJECT / "requirements-scoring.lock"))
    (wheel,) = (folder / "dist").glob("*.whl")
    _run("uv", "pip", "install", "--python", python, "--no-deps", str(wheel))
    return folder / "venv"


def test_nothing_of_the_training_side_is_installed(alone: Path) -> None:
    script = f"import importlib.util as u; print([n for n in {UNWANTED} if u.find_spec(n) is not None])"
    assert _output(alone, "-c", script) == "[]\n"


def test_every_module_of_the_scoring_side_imports_but_those_of_the_extra_for_the_api(alone: Path) -> None:
    found = json.loads(_output(alone, "-c", IMPORTING))
    assert len(found) > 150
    failed = {name: missing for name, missing in found.items() if missing}
    assert {name.rpartition(".")[0] for name in failed} == {"scoring.api"}
    assert set(failed.values()) == {"httptools"}


def test_with_the_lock_of_workers_every_module_imports(alone: Path, tmp_path: Path) -> None:
    python = str(tmp_path / "venv/bin/python")
    _run("uv", "venv", "--python", sys.executable, str(tmp_path / "venv"))
    _run("uv", "pip", "sync", "--python", python, "--require-hashes", str(PROJECT / "requirements-worker.lock"))
    (wheel,) = (alone.parent / "dist").glob("*.whl")
    _run("uv", "pip", "install", "--python", python, "--no-deps", str(wheel))
    found = json.loads(_output(tmp_path / "venv", "-c", IMPORTING))
    assert len(found) > 150
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_the_api_without_its_extra_says_what_to_install(alone: Path) -> None:
    done = subprocess.run(
        [str(alone / "bin/baton"), "api"], capture_output=True, text=True, check=False, env=_environment(), cwd="/"
    )
    assert done.returncode == 2
    assert "pip install 'baton[api]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_explains_itself(alone: Path) -> None:
    names = sorted(path.stem.replace("_", "-") for path in Path(commands.__path__[0]).glob("[a-z]*.py"))
    assert "worker" in names
    for name in names:
        assert "Usage: baton" in _output(alone, "-m", "scoring", name, "--help")


def test_a_bundle_on_disk_scores_records_and_names_what_it_cannot_score(alone: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 3)
    lines = [msgspec.json.encode(small_record(number)) for number in range(10)] + [b"{}"]
    done = subprocess.run(
        [str(alone / "bin/baton"), "score", str(tmp_path / "bundle")],
        input=b"\n".join(lines),
        capture_output=True,
        check=False,
        env=_environment(),
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["score"] for answer in answers[:10]] == [score_of(3, number) for number in range(10)]
    assert answers[10]["reason"] == "missing-field"
    assert done.returncode == 1


def test_a_bundle_is_probed_by_an_interpreter_that_has_only_the_scoring_side(alone: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 3)
    command = probe_command(tmp_path / "bundle", python=alone / "bin/python", memory_bytes=3 * 2**30, seconds=60)
    done = subprocess.run(command, capture_output=True, check=False, env=_environment(), cwd="/")
    found = read_answer(done.returncode, done.stdout, done.stderr)
    assert [batch.records for batch in found.batches] == [1, 64, 1_024, 4_096]
    assert {"baton", "numpy", "onnxruntime"} <= set(found.versions)


def _output(venv: Path, *arguments: str) -> str:
    command = [str(venv / "bin/python"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=_environment(), cwd="/").stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _run(*command: str) -> None:
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
