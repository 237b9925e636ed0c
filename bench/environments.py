"""Environments made from locks: one for each alternative, and one as a host that only scores has it."""

import os
import subprocess
import sys
from pathlib import Path

from bench.measurements import FOLDER, PROJECT
from scoring.contract.digest import digest_of

RIVALS = Path(__file__).parent / "rivals"
INSTALL_TIMEOUT_S = 300


class NotInstalled(Exception):
    """An environment cannot be made here. Where it is an alternative's, the bench goes on without it."""


def python_of(rival: str) -> Path:
    """The interpreter of an alternative's environment.

    Raises:
        NotInstalled: it cannot be made.
    """
    return _made_from(RIVALS / f"{rival}.lock", FOLDER / "rivals", rival)


def python_that_scores() -> Path:
    """The interpreter of an environment with what a worker needs and nothing of the training side.

    Raises:
        NotInstalled: it cannot be made.
    """
    return _made_from(PROJECT / "requirements-scoring.lock", FOLDER, "scoring")


def python_that_serves() -> Path:
    """The interpreter of an environment as the image of workers and the API has it.

    Raises:
        NotInstalled: it cannot be made.
    """
    return _made_from(PROJECT / "requirements-worker.lock", FOLDER, "serving")


def _made_from(lock: Path, into: Path, name: str) -> Path:
    """Made where it is missing or its lock has changed."""
    folder = into / f"{name}-{digest_of(lock.read_bytes())[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        _run([sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        install = ["pip", "install", "--quiet", "--no-config", "--compile-bytecode", "--require-hashes"]
        _run([sys.executable, "-m", "uv", *install, "--python", str(python), "-r", str(lock)])
        (folder / "complete").touch()
    return python


def _run(command: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    try:
        done = subprocess.run(
            command, env=clean, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        raise NotInstalled((done.stderr.strip() or done.stdout.strip())[-300:])
