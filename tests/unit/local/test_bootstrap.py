"""The bootstrap script on made-up machines: a folder of fake commands is all that it can find."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
TOOLS = ("cat", "cmp", "dirname", "head", "id", "mkdir", "mv", "rm", "sed", "sh", "touch")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A clone without an environment, on a machine with a shell and little else."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "local" / "kafka").mkdir(parents=True)
    for name in ("bootstrap", "jars"):
        shutil.copy(PROJECT / "local" / name, tmp_path / "local" / name)
    shutil.copy(PROJECT / "local" / "kafka" / "pom.xml", tmp_path / "local" / "kafka" / "pom.xml")
    _command(tmp_path / "local" / "venv", "mkdir -p .venv; touch .venv/made")
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path


def _command(path: Path, script: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _install(machine: Path, *, java: str | None = "17.0.15", python_is_good: bool = True, maven: bool = True) -> None:
    _command(machine / "bin" / "python3", f"exit {0 if python_is_good else 1}")
    if java:
        _command(machine / "bin" / "java", f"""echo 'openjdk version "{java}" 2025-04-15' >&2""")
    if maven:
        # Makes the folder that it is told to fill.
        find_folder = "for a; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done"
        _command(machine / "bin" / "mvn", f'd=.; {find_folder}; mkdir -p "$d"')
        _command(machine / "bin" / "mktemp", "touch log; echo log")
        (machine / "bin" / "cp").symlink_to(shutil.which("cp") or "cp")


def _run(machine: Path, *, uid: int = 1000) -> subprocess.CompletedProcess[str]:
    _command(machine / "bin" / "id", f"echo {uid}")
    return subprocess.run(
        [machine / "local" / "bootstrap"],
        env={"PATH": str(machine / "bin"), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_machine_with_all_three_gets_environment_and_jars(machine: Path) -> None:
    _install(machine)
    done = _run(machine)
    assert done.returncode == 0, done.stderr
    assert (machine / ".venv" / "made").exists()
    assert (machine / ".venv" / "share" / "kafka" / "pom.xml").exists()


def test_what_is_missing_is_named_with_the_command_that_installs_it(machine: Path) -> None:
    _install(machine, java=None, maven=False)
    done = _run(machine)
    assert done.returncode == 1
    assert "a JDK, 17 or newer: apt-get install default-jdk-headless" in done.stderr
    assert "Maven: apt-get install maven" in done.stderr
    assert "Python" not in done.stderr.split("If it is there")[0]
    assert not (machine / ".venv").exists()


@pytest.mark.parametrize("java", ["1.8.0_392", "11.0.2", "16"])
def test_too_old_a_java_is_as_good_as_none(machine: Path, java: str) -> None:
    _install(machine, java=java)
    assert "a JDK, 17 or newer" in _run(machine).stderr


@pytest.mark.parametrize("java", ["17", "17.0.15", "21.0.1", "25-ea"])
def test_newer_javas_are_recognised(machine: Path, java: str) -> None:
    _install(machine, java=java)
    assert _run(machine).returncode == 0


def test_too_old_a_python_is_as_good_as_none(machine: Path) -> None:
    _install(machine, python_is_good=False)
    assert "Python 3.11 or newer with its venv module: apt-get install python3 python3-venv" in _run(machine).stderr


@pytest.mark.skipif(
    not Path("/etc/debian_version").exists(), reason="only Debian's packages are installed by themselves"
)
def test_root_on_debian_gets_what_is_missing_installed(machine: Path) -> None:
    _install(machine, java=None)
    fake_java = machine / "java"
    _command(fake_java, """echo 'openjdk version "17.0.15"' >&2""")
    _command(machine / "bin" / "apt-get", f'echo "$*" >> apt.log; [ "$1" != install ] || mv {fake_java} bin/java')
    done = _run(machine, uid=0)
    assert done.returncode == 0, done.stderr
    assert (machine / "apt.log").read_text().splitlines() == [
        "update -qq",
        "install -y -qq --no-install-recommends default-jdk-headless",
    ]


def test_maven_is_not_needed_once_the_jars_are_there(machine: Path) -> None:
    _install(machine, maven=False)
    jars = machine / ".venv" / "share" / "kafka"
    jars.mkdir(parents=True)
    shutil.copy(machine / "local" / "kafka" / "pom.xml", jars)
    assert _run(machine).returncode == 0
