"""What a bundle was made with: versions of packages and the revision of the code."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("baton", "numpy", "onnx", "onnxruntime", "pyarrow", "scikit-learn", "scipy", "skl2onnx")
_GIT_TIMEOUT_S = 10


def versions() -> Mapping[str, str]:
    """The versions that count for a bundle, by package; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code_revision(folder: Path) -> str | None:
    """The commit of the repository that holds ``folder``, with ``-dirty`` where files differ; None outside of one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
