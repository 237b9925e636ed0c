"""The systemd units: what they set exists, and systemd itself finds nothing wrong with them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scoring.service.ending import EXIT_CONFIGURATION
from scoring.settings import Settings
from scoring.worker.supervisor import END_PATIENCE_S

FOLDER = Path(__file__).parents[3] / "deploy" / "systemd"
WORKER, SINK, API = (FOLDER / f"baton-{name}@.service" for name in ("worker", "sink", "api"))
# As systemd-analyze counts it, from 0 to 10.
WORST_EXPOSURE = 2.0


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_each_unit_is_looked_at() -> None:
    assert {WORKER, SINK, API} == set(FOLDER.glob("*.service"))


@pytest.mark.parametrize(("unit", "fewest"), [(WORKER, 8), (SINK, 5), (API, 8)])
def test_every_setting_that_it_names_exists(unit: Path, fewest: int) -> None:
    named = set(re.findall(r"\bBATON_([A-Z_]+)\b", unit.read_text()))
    assert len(named) >= fewest
    assert named <= {name.upper() for name in Settings.model_fields}


def test_it_supervises_since_only_a_supervisor_tells_systemd_that_it_is_well() -> None:
    for unit, setting in ((WORKER, "BATON_PROCESSES=1"), (API, "BATON_API_PROCESSES=1")):
        assert values(unit, "Type") == ["notify"]
        assert setting in unit.read_text()


@pytest.mark.parametrize("unit", [WORKER, SINK, API])
def test_a_wrong_configuration_is_not_started_again(unit: Path) -> None:
    (prevented,) = values(unit, "RestartPreventExitStatus")
    assert int(prevented) == EXIT_CONFIGURATION


def test_it_waits_until_every_worker_has_finished_its_micro_batch() -> None:
    for unit in (WORKER, API):
        (timeout,) = values(unit, "TimeoutStopSec")
        assert int(timeout) > END_PATIENCE_S


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("template", [WORKER, SINK, API])
def test_systemd_finds_nothing_wrong_with_it_and_nearly_nothing_exposed(tmp_path: Path, template: Path) -> None:
    unit = tmp_path / template.name.replace("@", "@flights")
    unit.write_text(template.read_text().replace("/opt/baton/bin/baton", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    (exposure,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", rated.stdout)
    assert float(exposure) <= WORST_EXPOSURE
