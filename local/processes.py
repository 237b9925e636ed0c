"""The processes of a stack, found by the marker in their environment."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from local.environment import MARKER

KILLED_WITHIN_S = 10.0


def marked_processes(state_dir: Path) -> list[psutil.Process]:
    """Every process that carries the marker of the stack at ``state_dir``; never this one or its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in own and _is_marked(process, state_dir)]


def end_marked_processes(state_dir: Path, *, grace_s: float) -> list[str]:
    """End what is left of the stack: SIGTERM, and SIGKILL after ``grace_s``. Returns what it found."""
    found = marked_processes(state_dir)
    described = [describe(process) for process in found]
    _signal(found, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=grace_s)
    # Looked up again, for a process may have started others; and those known to be alive are kept, for a process that
    # is just ending has no environment any more but still holds its ports.
    survivors = {*alive, *marked_processes(state_dir)}
    _signal(survivors, signal.SIGKILL)
    psutil.wait_procs(survivors, timeout=KILLED_WITHIN_S)
    return described


def describe(process: psutil.Process) -> str:
    """Name and pid, for messages."""
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"


def memory_bytes(pid: int) -> int:
    """Proportional memory of the process ``pid`` and all its descendants; 0 when it is gone."""
    try:
        root = psutil.Process(pid)
        return sum(map(_proportional_bytes, [root, *root.children(recursive=True)]))
    except psutil.NoSuchProcess:
        return 0


def _proportional_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _is_marked(process: psutil.Process, state_dir: Path) -> bool:
    try:
        return process.environ().get(MARKER) == str(state_dir) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False  # gone, another user's, or a kernel thread


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
