"""Processes of a campaign: each is forked from one that has everything imported, so that a thousand cost minutes.

The nursery itself has no threads and opens no client, so that a fork of it is as good as a fresh interpreter.
"""

import faulthandler
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.support.deciders import PROJECT
from tests.support.promoter import Task, run

# Exit status of a process whose nursery ended before it could tell.
ORPHANED = 71


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is to do: a task of the promoter, or the command ``baton`` with arguments.

    Attributes:
        output: the file that takes what it writes.
        gate: a file that it locks (shared) when it is ready, and so waits until nobody holds it exclusively.
    """

    number: int
    output: str
    environment: Mapping[str, str]
    task: Task | None = None
    arguments: Sequence[str] = ()
    gate: str | None = None


class Child:
    """One process, as its campaign sees it."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.ready = threading.Event()
        self._ended = threading.Event()
        self.pid = 0
        self.status = 0

    def wait(self, timeout_s: float) -> int:
        """The exit status, negative where a signal ended it."""
        if not self._ended.wait(timeout_s):
            self.kill(signal.SIGABRT)  # it writes down where it is
            self._ended.wait(10)
            raise AssertionError(f"a process did not end within {timeout_s} s: {self.errand.arguments}\n{self.said}")
        return self.status

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, unless it has ended."""
        if self.pid and not self._ended.is_set():
            with suppress(ProcessLookupError):  # it ended, and the nursery is about to say so
                os.kill(self.pid, number)

    @property
    def said(self) -> str:
        """Everything that it wrote."""
        path = Path(self.errand.output)
        return path.read_text(errors="replace") if path.exists() else ""

    def orphaned(self) -> None:
        """The nursery has ended: nobody will tell any more."""
        if not self._ended.is_set():
            self.status = ORPHANED
            self._ended.set()

    def told(self, news: Mapping[str, Any]) -> None:
        """Take what the nursery reports."""
        self.pid = news.get("pid", self.pid)
        if "ready" in news:
            self.ready.set()
        if "status" in news:
            self.status = news["status"]
            self._ended.set()


class Nursery:
    """Starts processes. A context manager: leaving it ends the nursery and what it started."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._children: list[Child] = []
        self._lock = threading.Lock()
        self._ended = False
        with (folder / "nursery.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.promotion.nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=PROJECT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def log(self) -> str:
        """What the nursery itself wrote: why it ended, where it did."""
        return (self._folder / "nursery.log").read_text(errors="replace")

    def start(self, *, task: Task | None = None, arguments: Sequence[str] = (), gate: Path | None = None) -> Child:
        """Start one process."""
        with self._lock:
            assert not self._ended, f"the nursery has ended: {self.log}"
            number = len(self._children)
            errand = Errand(
                number=number,
                output=str(self._folder / f"child-{number}.log"),
                environment=self._environment,
                task=task,
                arguments=tuple(arguments),
                gate=str(gate) if gate else None,
            )
            child = Child(errand)
            self._children.append(child)
            assert self._process.stdin is not None
            self._process.stdin.write(msgspec.json.encode(errand) + b"\n")
            self._process.stdin.flush()
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._listener.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            self._children[news["number"]].told(news)
        with self._lock:
            self._ended = True
        for child in self._children:
            child.orphaned()


def report(**news: object) -> None:
    """Tell the campaign something; a line is short enough to be written whole."""
    os.write(1, json.dumps(news).encode() + b"\n")


def work(errand: Errand) -> int:
    """Do an errand in a process of its own; its exit status."""
    os.environ.update(errand.environment)
    if errand.gate is not None:
        with Path(errand.gate).open("rb") as gate:
            report(number=errand.number, ready=True)
            fcntl.flock(gate, fcntl.LOCK_SH)
    with Path(errand.output).open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    faulthandler.enable()
    if errand.task is not None:
        sys.stdout.write(msgspec.json.encode(run(errand.task)).decode())
        sys.stdout.flush()
        return 0
    from scoring.cli import main

    sys.argv = ["baton", *errand.arguments]
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        return end.code if isinstance(end.code, int) else 1
    return 0


def fork(line: bytes) -> tuple[int, int]:
    """Start a process for one line of orders; its pid and its number."""
    errand = msgspec.json.decode(line, type=Errand)
    pid = os.fork()
    if pid:
        return pid, errand.number
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = work(errand)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def reap(numbers: dict[int, int]) -> None:
    """Report the processes that have ended."""
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        report(number=numbers.pop(pid), status=os.waitstatus_to_exitcode(status))


def serve() -> None:
    """Take orders, a line each, until there are no more."""
    import psycopg  # noqa: F401 - what takes long is imported before the first fork

    import scoring.commands.promote
    import scoring.commands.reconcile
    import scoring.commands.rollback
    import scoring.promotion.convergence
    import scoring.registry.mlflow_registry  # noqa: F401

    woken, wakes = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    numbers: dict[int, int] = {}
    buffer = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        if 0 in ready:
            got = os.read(0, 65536)
            if not got:
                return
            *lines, buffer = (buffer + got).split(b"\n")
            for line in lines:
                pid, number = fork(line)
                numbers[pid] = number
                report(number=number, pid=pid)
        reap(numbers)


if __name__ == "__main__":
    serve()
