"""Processes that tests started and did not end."""

import os
from contextlib import suppress

import psutil

RUN_MARKER = "BATON_TEST_RUN"
"""Environment variable with the pid of the test run; whatever a run starts inherits it."""
# What was told to end may do so a little later.
_ENDING_S = 10


def end_processes_of_dead_runs() -> None:
    """End what test runs that were killed have left behind."""
    for process in psutil.process_iter():
        run = _run_of(process)
        if run is not None and run != os.getpid() and not psutil.pid_exists(run):
            _end(process)


def end_processes_of_this_run() -> list[str]:
    """End what this test run has started and not ended; returns the command lines."""
    found = [process for process in psutil.process_iter() if _is_left_over(process)]
    _, left = psutil.wait_procs(found, timeout=_ENDING_S)
    described = [command_of(process, 6) for process in left]
    for process in left:
        _end(process)
    psutil.wait_procs(left, timeout=5)
    return described


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _is_left_over(process: psutil.Process) -> bool:
    if process.pid == os.getpid() or _run_of(process) != os.getpid():
        return False
    # Python's own helper ends with its parent.
    return "multiprocessing.resource_tracker" not in command_of(process)


def command_of(process: psutil.Process, parts: int | None = None) -> str:
    """How a process was started, or the first so many parts of that; empty where it has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline()[:parts])
    return ""


def started_about(what: str) -> list[psutil.Process]:
    """The processes under this one with that in their command."""
    return [each for each in psutil.Process().children(recursive=True) if what in command_of(each)]


def _run_of(process: psutil.Process) -> int | None:
    try:
        run = process.environ().get(RUN_MARKER, "")
        return int(run) if run.isdecimal() and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):
        return None
