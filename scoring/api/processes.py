"""Short-lived processes that find an answer: some at a time, each ended at its deadline or when this process stops."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from scoring.worker.attended import attended


class Finished(msgspec.Struct, frozen=True):
    """What a process that has ended left.

    Attributes:
        status: negative where a signal ended it.
    """

    status: int
    output: bytes
    said: bytes


class NotStarted(Exception):
    """No process could be started, and why."""


class Processes:
    """Starts them, waits for them and ends them.

    Args:
        name: of the threads that wait.
        at_a_time: how many run side by side.
        heard: whether their standard error is part of the answer; otherwise it is this process's own, the log.
    """

    def __init__(self, name: str, at_a_time: int, *, heard: bool) -> None:
        self.threads = ThreadPoolExecutor(at_a_time, name)
        self._stderr = subprocess.PIPE if heard else None
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(self, command: Sequence[str], asked: bytes, until_s: float) -> Finished | None:
        """Wait for one, on one of the threads; None where it takes too long.

        Args:
            asked: its standard input.
            until_s: by the monotonic clock.

        Raises:
            NotStarted: there is none, or this process is stopping.
        """
        if time.monotonic() >= until_s:  # those before it took all of its time
            return None
        process = self._started(command)
        try:
            with process:  # closes also what a process that was killed did not read
                return self._finished(process, asked, until_s)
        finally:
            with self._lock:
                self._running.discard(process)

    def close(self) -> None:
        """End the processes and their threads."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()
        self.threads.shutdown(cancel_futures=True)

    def _started(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._closed:
                raise NotStarted("this process is stopping; ask another one")
            pipe, attending = subprocess.PIPE, attended(list(command), os.getpid())
            try:
                process = subprocess.Popen(attending, stdin=pipe, stdout=pipe, stderr=self._stderr)
            except OSError as error:
                raise NotStarted(f"no process can be started now: {error.strerror}") from error
            self._running.add(process)
            return process

    def _finished(self, process: "subprocess.Popen[bytes]", asked: bytes, until_s: float) -> Finished | None:
        try:
            output, said = process.communicate(asked, until_s - time.monotonic())
        except subprocess.TimeoutExpired:
            process.kill()
            return None
        return Finished(process.returncode, output, said or b"")
