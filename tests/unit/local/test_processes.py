import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.environment import MARKER
from local.processes import end_marked_processes, marked_processes, memory_bytes

WAIT_FOR_EVER = "import signal, sys; print('up', flush=True); signal.pause()"
IGNORE_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT_FOR_EVER}"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _start(started: list[subprocess.Popen[bytes]], mark: Path, code: str = WAIT_FOR_EVER) -> subprocess.Popen[bytes]:
    environ = {**os.environ, MARKER: str(mark)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def test_only_processes_of_this_stack_are_ended(started: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    mine, other = _start(started, tmp_path / "a"), _start(started, tmp_path / "ab")
    assert [process.pid for process in marked_processes(tmp_path / "a")] == [mine.pid]
    end_marked_processes(tmp_path / "a", grace_s=5)
    assert not psutil.pid_exists(mine.pid)
    assert other.poll() is None


def test_a_process_that_ignores_the_request_is_killed(started: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    stubborn = _start(started, tmp_path, IGNORE_SIGTERM)
    ended = end_marked_processes(tmp_path, grace_s=0.2)
    assert not psutil.pid_exists(stubborn.pid)
    assert [f"(pid {stubborn.pid})" in name for name in ended] == [True]


def test_nothing_left_over_is_nothing_to_end(tmp_path: Path) -> None:
    assert end_marked_processes(tmp_path, grace_s=5) == []


def test_one_is_never_among_the_processes_to_end(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from local.processes import marked_processes;"
        f"print([p.pid for p in marked_processes(Path({str(tmp_path)!r}))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, MARKER: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout == "[]\n"


def test_memory_is_that_of_a_living_process() -> None:
    assert memory_bytes(psutil.Process().pid) > 2**20
    assert memory_bytes(2**22 + 1) == 0
