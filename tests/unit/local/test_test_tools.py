"""What the tests need beside Python is installed for root on Debian, and named for everybody else."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "local" / "test-tools"


def run(folder: Path, *present: str, uid: int = 1000) -> "subprocess.CompletedProcess[str]":
    """The script on a machine with these commands alone, all of which succeed."""
    for name in present:
        command(folder, name, "exit 0")
    command(folder, "id", f"echo {uid}")
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


def command(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_it_says_nothing_where_all_is_there(tmp_path: Path) -> None:
    done = run(tmp_path, "redis-server", "promtool", "initdb", "chromium", "hey")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_missing_is_named_and_the_tests_run_all_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, "initdb", "promtool", "chromium", "hey")
    assert done.returncode == 0
    assert done.stderr.endswith("apt-get install redis-server\n")


@pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="only Debian's packages are installed")
def test_root_on_debian_gets_it_installed_without_a_server_being_started(tmp_path: Path) -> None:
    log = tmp_path / "apt.log"
    command(tmp_path, "apt-get", f'echo "$* $SYSTEMD_OFFLINE" >> {log}')
    done = run(tmp_path, "initdb", "redis-server", "chromium", "hey", uid=0)
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == ["update -qq 1", "install -y -qq --no-install-recommends prometheus 1"]
    assert "prometheus" in done.stdout


def test_it_goes_on_where_the_packages_cannot_be_had(tmp_path: Path) -> None:
    command(tmp_path, "apt-get", "exit 100")
    done = run(tmp_path, "initdb", "redis-server", "chromium", "hey", uid=0)
    assert done.returncode == 0
    assert "apt-get install prometheus" in done.stderr
