"""What a person sees of the stack: the table of its processes, and their logs."""

import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.errors import StackError
from local.processes import memory_bytes
from local.programs import log_file, programs
from local.settings import COMPONENTS, StackSettings
from local.supervisor import ProcessState, Supervisor

HEADER = ("process", "state", "pid", "uptime", "memory", "address")


def read_states(settings: StackSettings) -> list[ProcessState]:
    """What each process of the stack does, in the order of their start; empty when the stack is down."""
    supervisor = Supervisor(settings)
    if not supervisor.alive():
        return []
    order = [program.name for program in programs(settings, COMPONENTS)]
    return sorted(supervisor.states(), key=lambda found: order.index(found.name))


def all_running(states: Sequence[ProcessState]) -> bool:
    """Whether there are processes and each of them runs."""
    return bool(states) and all(found.running for found in states)


def table(
    settings: StackSettings, states: Sequence[ProcessState], *, memory: Callable[[int], int] = memory_bytes
) -> str:
    """The states as text in columns."""
    urls = {program.name: program.url for program in programs(settings, COMPONENTS)}
    rows = [HEADER, *(_row(found, urls, memory) for found in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def log_files(settings: StackSettings, name: str | None) -> list[Path]:
    """The log of one process, or all of them; raises StackError for a name that there is not."""
    if name is None:
        return sorted(settings.log_dir.glob("*.log"))
    path = log_file(settings, name)
    if not path.exists():
        known = ", ".join(found.stem for found in sorted(settings.log_dir.glob("*.log"))) or "none yet"
        raise StackError(f"no log of {name!r} in {settings.log_dir}; there is: {known}")
    return [path]


def print_logs(paths: Sequence[Path], *, lines: int, follow: bool, say: Callable[[str], None]) -> None:
    """Show the last ``lines`` of each log; with ``follow``, go on until interrupted."""
    if follow:
        subprocess.run(["tail", "-n", str(lines), "-F", *map(str, paths)], check=False)
        return
    for path in paths:
        if len(paths) > 1:
            say(f"==> {path} <==")
        with path.open(errors="replace") as file:
            say("".join(deque(file, maxlen=lines)).rstrip("\n"))


def _row(found: ProcessState, urls: Mapping[str, str], memory: Callable[[int], int]) -> tuple[str, ...]:
    return (
        found.name,
        found.state.lower(),
        str(found.pid or "-"),
        _duration(found.uptime_s) if found.running else "-",
        f"{memory(found.pid) / 2**20:.0f} MiB" if found.pid else "-",
        urls.get(found.name, ""),
    )


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
