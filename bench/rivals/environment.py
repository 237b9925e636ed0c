"""Environments of the alternatives' own, made from their locks; one that cannot be made is told, not fatal."""

import os
import subprocess
import sys
from pathlib import Path

from bench.ground import FOLDER
from scoring.contract.digest import digest_of

HERE = Path(__file__).parent
INSTALL_TIMEOUT_S = 300


class NotInstalled(Exception):
    """An alternative cannot be installed here; the bench goes on without it."""


def python_of(name: str) -> Path:
    """The interpreter of an alternative's environment, which is made where it is missing or its lock has changed.

    Raises:
        NotInstalled: it cannot be made.
    """
    lock = HERE / f"{name}.lock"
    folder = FOLDER / "rivals" / f"{name}-{digest_of(lock.read_bytes())[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        _run([sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        install = ["pip", "install", "--quiet", "--no-config", "--require-hashes", "--python", str(python)]
        _run([sys.executable, "-m", "uv", *install, "-r", str(lock)])
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
