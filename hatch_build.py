"""Compiles the scorer's library (``scoring/scorer/*.c``) when the package is built or installed for editing.

Where there is no C compiler nothing is compiled, and Python's libraries do the same work. The library needs no Python
headers and serves every Python of its platform.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = tuple(Path("scoring/scorer") / name for name in ("lines.c", "records.c", "trees.c"))
LIBRARY = Path("scoring/scorer/libscorer.so.1")  # were it .so alone, Python would take it for a module of its own
# Exact: no contraction of products and sums, no fast maths. Nothing of this machine's own: the library may travel.
FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
SECONDS = 120


class LibraryHook(BuildHookInterface[Any]):
    """Puts the library beside its sources, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a wheel with the library in it is one for this platform."""
        del version
        why = compile_library(Path(self.root))
        if why is not None:
            self.app.display_warning(f"The scorer does without its compiled library: {why}")
            return
        build_data["artifacts"].append(f"/{LIBRARY}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(root: Path) -> str | None:
    """Make the library anew; a process that has the one before it open keeps that.

    Returns:
        why there is none, or None.
    """
    made = root / LIBRARY.with_name(f"{LIBRARY.name}.{os.getpid()}")
    try:
        why = _compile([root / source for source in SOURCES], made)
        if why is None:
            made.replace(root / LIBRARY)
        else:
            (root / LIBRARY).unlink(missing_ok=True)  # of an older source, perhaps
    except OSError as error:
        return str(error)
    finally:
        made.unlink(missing_ok=True)
    return why


def _compile(sources: Sequence[Path], made: Path) -> str | None:
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return f"there is no C compiler ({compiler[0]})"
    command = [*compiler, *FLAGS, "-o", str(made), *map(str, sources), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"{compiler[0]} took more than {SECONDS} s"
    return f"{shlex.join(command)}: {done.stderr.strip()[-500:]}" if done.returncode else None
