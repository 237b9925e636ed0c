"""Processes under test, each forked from one that has everything imported: a thousand starts cost minutes, not hours.

The nursery has one thread and opens no client, so a fork of it is as good as a fresh interpreter. What it started ends
with it.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

PROJECT = Path(__file__).parents[3]
PR_SET_PDEATHSIG = 1
ORPHANED = -99
# The nursery imports everything before its first worker, which takes long where others keep the machine busy.
START_WITHIN_S = 180.0


class Child:
    """One worker, as its campaign sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self._started = threading.Event()
        self._ended = threading.Event()
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative where a signal ended it; None while it runs."""
        return self._status

    def wait(self, timeout_s: float) -> int:
        """Wait for its end."""
        assert self._ended.wait(timeout_s), f"worker process {self.pid} did not end within {timeout_s} s"
        assert self._status is not None
        return self._status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        assert self._started.wait(START_WITHIN_S), "the nursery did not start a worker"
        with suppress(ProcessLookupError):  # it ended, and the nursery is about to say so
            if self._status is None:
                os.kill(self.pid, number)

    def kill(self, timeout_s: float = 10.0) -> None:
        """SIGKILL, and wait."""
        self.send(signal.SIGKILL)
        self._ended.wait(timeout_s)

    def frozen(self) -> bool:
        """Whether SIGSTOP holds it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def started(self, pid: int) -> None:
        """The nursery's word."""
        self.pid = pid
        self._started.set()

    def ended(self, status: int) -> None:
        """The nursery's word."""
        self._status = status
        self._started.set()
        self._ended.set()


class Nursery:
    """Starts workers. A context manager: leaving it ends all of them.

    Args:
        program: the module whose ``main`` each of them runs.
        imported: what else takes long and is imported once for all.
    """

    def __init__(self, log_file: Path, program: str, *imported: str) -> None:
        self._children: list[Child] = []
        self._lock = threading.Lock()
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.daemon.nursery", program, *imported],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=PROJECT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, environment: Mapping[str, str], log_file: Path) -> Child:
        """Start one worker with an environment of its own."""
        assert self._process.stdin is not None
        with self._lock:
            child = Child(len(self._children))
            self._children.append(child)
            order = {"number": child.number, "environment": dict(environment), "log": str(log_file)}
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for child in self._children:
            if child.poll() is None:
                child.kill()
        self._process.stdin.close()
        self._process.wait(START_WITHIN_S)
        self._listener.join(20)
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            child = self._children[news["number"]]
            if "pid" in news:
                child.started(news["pid"])
            else:
                child.ended(news["status"])
        for child in self._children:
            if child.poll() is None:
                child.ended(ORPHANED)


def _report(**news: int) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")  # short enough to be written whole


def _fork(line: bytes, program: Callable[[], int]) -> tuple[int, int]:
    order = json.loads(line)
    pid = os.fork()
    if pid:
        _report(number=order["number"], pid=pid)
        return pid, order["number"]
    status = 71
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(order["environment"])
        status = program()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _reap(numbers: dict[int, int]) -> None:
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _report(number=numbers.pop(pid), status=os.waitstatus_to_exitcode(status))


def serve(program: str, *imported: str) -> None:
    """Take orders, a line each, until there are no more."""
    # What takes long is imported before the first fork.
    main: Callable[[], int] = importlib.import_module(program).main
    for name in imported:
        importlib.import_module(name)

    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    numbers: dict[int, int] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(numbers)
        if 0 in ready:
            taken = os.read(0, 1 << 16)
            if not taken:
                break
            *lines, rest = (rest + taken).split(b"\n")
            for line in lines:
                pid, number = _fork(line, main)
                numbers[pid] = number
    for pid in numbers:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(*sys.argv[1:])
