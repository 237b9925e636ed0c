from pathlib import Path

import pytest

from bench import environments
from bench.environments import RIVALS
from bench.measurements import PROJECT


def pins(path: Path) -> dict[str, str]:
    """Version by package in a lock."""
    lines = [line.split("==", 1) for line in path.read_text().splitlines() if "==" in line and not line.startswith(" ")]
    return {name: rest.split()[0] for name, rest in lines}


@pytest.mark.parametrize("name", ["quix", "bytewax", "mlflow_serve", "mlserver", "open_inference"])
def test_locks_hold_a_hash_for_everything_and_no_address(name: str) -> None:
    text = (RIVALS / f"{name}.lock").read_text()
    found = pins(RIVALS / f"{name}.lock")
    assert len(found) > 10
    assert text.count("--hash=sha256:") >= len(found)
    assert "://" not in text


@pytest.mark.parametrize("name", ["quix", "bytewax", "mlflow_serve", "mlserver"])
def test_the_model_is_loaded_by_the_scikit_learn_that_made_it(name: str) -> None:
    ours, theirs = pins(PROJECT / "requirements.lock"), pins(RIVALS / f"{name}.lock")
    assert {"scikit-learn", "numpy"} <= theirs.keys()
    assert theirs["scikit-learn"] == ours["scikit-learn"]
    assert theirs["numpy"] == ours["numpy"]


def test_an_alternative_that_cannot_be_installed_is_told_and_not_fatal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "RIVALS", tmp_path)
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    (tmp_path / "nobody.lock").write_text("no-such-package-at-all==1.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(environments.NotInstalled):
        environments.python_of("nobody")
