"""The command ``baton quality`` on a real MLflow."""

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from scoring.cli import group
from scoring.contract.errors import ConfigurationError
from scoring.registry.mlflow_registry import MlflowRegistry
from tests.unit.training.test_quality import run
from training.quality.cli import Quality


def test_the_command_shows_the_runs_of_a_registry(
    empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = MlflowRegistry(uri)
    for month in (4, 5):
        each = run(month, 0.6 + month / 100)
        registry.record("small", f"run {month}", params=each.params, metrics=each.metrics, tags=each.tags)
    monkeypatch.setenv("BATON_REGISTRY_URI", uri)
    output = tmp_path / "quality.html"
    told = CliRunner().invoke(group, ["quality", "small", "--page", str(output)])
    assert told.exit_code == 0, told.output
    assert [line.split()[4] for line in told.output.splitlines()[2:]] == ["0.6400", "0.6500"]
    assert "<svg" in output.read_text()
    answer = msgspec.json.decode(CliRunner().invoke(group, ["quality", "small", "--json"]).output, type=Quality)
    assert [each.value for each in answer.intervals] == [0.64, 0.65]


def test_a_registry_without_runs_says_what_to_do(
    empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    monkeypatch.setenv("BATON_REGISTRY_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(ConfigurationError, match="no run of small; start one in Airflow, or a backfill"):
        CliRunner().invoke(group, ["quality", "small"], catch_exceptions=False, standalone_mode=False)
    monkeypatch.setenv("BATON_REGISTRY_URI", tmp_path.as_uri())
    with pytest.raises(ConfigurationError, match="a registry in a folder keeps no runs"):
        CliRunner().invoke(group, ["quality", "small"], catch_exceptions=False, standalone_mode=False)
