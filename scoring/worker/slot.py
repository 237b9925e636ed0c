"""What one process of a host has to itself: its slot, and where there are enough a core.

Both are locks on files in the cache directory, which the workers of a host share. The system lets go of them when the
process ends, however it ends.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from scoring.contract.errors import ConfigurationError

# A predecessor that was just told to end may need a moment.
PATIENCE_S = 2.0
_LOOK_AGAIN_S = 0.05


class Held:
    """Locks that are held as long as this object lives."""

    def __init__(self, *files: IO[str]) -> None:
        self._files = files

    def release(self) -> None:
        """Let go before the process ends."""
        for file in self._files:
            file.close()


def hold_slot(
    root: Path, worker: str, *, patience_s: float = PATIENCE_S, clock_s: Callable[[], float] = time.monotonic
) -> Held:
    """Take the slot of ``worker`` (``deployment/slot``) on this host.

    On other hosts nothing can be seen from here: there two workers of a slot fence each other (protocol B.1).

    Raises:
        ConfigurationError: another process has it, or the directory cannot be written to.
    """
    path = root / "workers" / f"{worker.replace('/', '-')}.lock"
    deadline_s = clock_s() + patience_s
    while (file := _try_lock(path)) is None:
        if clock_s() >= deadline_s:
            other = _holder(path)
            raise ConfigurationError(
                f"slot {worker} is taken on this host by {other}; give one of them another --slot, or --deployment"
            )
        time.sleep(_LOOK_AGAIN_S)
    return Held(file)


def take_core(root: Path, cores: Iterable[int]) -> tuple[int, Held] | None:
    """A core that no other worker of this host keeps to; None where all of ``cores`` are taken.

    Raises:
        ConfigurationError: the directory cannot be written to.
    """
    for core in sorted(cores):
        file = _try_lock(root / "cores" / f"{core}.lock")
        if file is not None:
            return core, Held(file)
    return None


def _try_lock(path: Path) -> IO[str] | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise ConfigurationError(f"BATON_CACHE_DIR: cannot write to {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError:  # a full disk: the number is only for people
        pass
    return file


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text(encoding='ascii'))}"
    except (OSError, ValueError):
        return "another process"
