"""The supervisor: keeps the workers of a host running, one process in each of its slots.

It starts a slot again, with back-off, after status 70, a crash or a hang. A configuration error is not tried again: a
person has to change something. It scores nothing and talks to nobody but its workers and systemd.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from scoring.service.backoff import Backoff
from scoring.service.ending import EXIT_AGAIN, EXIT_CONFIGURATION
from scoring.service.stop import STOP_PATIENCE_S, Stop
from scoring.service.systemd import Notifier
from scoring.worker.lifeline import Post

LOOK_EVERY_S = 0.2
TELL_EVERY_S = 5.0
# A worker gives calls that cannot get through up after STOP_PATIENCE_S, then it has to say goodbye.
END_PATIENCE_S = STOP_PATIENCE_S + 15.0
# The worker's own watchdog comes first; this is for one that cannot even run that.
HANG_MARGIN_S = 5.0
# A slot that was given up while others work is started again that rarely: what ailed it may be over.
GIVEN_UP_WAIT_S = 600.0
log = structlog.get_logger()


class Running(Protocol):
    """A worker process, as the supervisor sees it."""

    pid: int

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    def heard(self) -> bool:
        """Whether its hot thread came round since the last time this was asked."""

    def end(self) -> None:
        """Ask it to finish its micro-batch and end."""

    def kill(self) -> None:
        """End it at once."""


Spawn = Callable[[int, int], Running]  # slot, restarts


class RestartPolicy(msgspec.Struct, frozen=True):
    """When a slot is started again.

    Attributes:
        backoff: waits after ends in quick succession.
        settled_after_s: a worker that lived this long did not end in quick succession.
        limit: after so many of those in a row the slot is given up.
    """

    backoff: Backoff = Backoff(first_s=1.0, longest_s=60.0)
    settled_after_s: float = 60.0
    limit: int = 20

    def quick_ends(self, before: int, lived_s: float) -> int:
        """How many ends in quick succession there were, with this one."""
        return 1 if lived_s >= self.settled_after_s else before + 1

    def wait_s(self, quick_ends: int) -> float | None:
        """How long to wait before the next start; None gives the slot up."""
        return None if quick_ends > self.limit else self.backoff.wait_s(quick_ends)


class _Slot:
    """What is known of one slot."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Running | None = None
        self.started_at_s = self.heard_at_s = 0.0
        self.start_at_s: float | None = 0.0  # None: never again
        self.given_up = False
        self.quick_ends = 0
        self.restarts = -1
        self.status = 0


class Supervisor:
    """Tends the slots until it is told to stop.

    Args:
        spawn: starts the worker of a slot.
        hang_limit_s: how long a worker's hot thread may be silent before the worker is killed.
    """

    def __init__(
        self,
        slots: Sequence[int],
        *,
        spawn: Spawn,
        stop: Stop,
        hang_limit_s: float,
        policy: RestartPolicy | None = None,
        notifier: Notifier | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._slots = [_Slot(number) for number in slots]
        self._spawn = spawn
        self._stop = stop
        self._hang_limit_s = hang_limit_s
        self._policy = policy or RestartPolicy()
        self._notifier = notifier or Notifier("")
        self._clock_s = clock_s
        self._wait = wait
        self._told: tuple[float, int] = (0.0, -1)  # when, and how many were running

    def run(self) -> int:
        """Keep the slots filled until told to stop, or until every one was given up; returns the exit status."""
        log.info("supervisor.started", slots=[slot.number for slot in self._slots])
        while not self._stop.requested():
            for slot in self._slots:
                self._tend(slot)
            running = sum(slot.process is not None for slot in self._slots)
            if not running and all(slot.given_up for slot in self._slots):
                return self._give_up()
            self._tell(running)
            self._wait(LOOK_EVERY_S)
        self._end()
        return 0

    def _tell(self, running: int) -> None:
        """Tell systemd that this process is well, and how many workers run."""
        told_at_s, told = self._told
        now_s = self._clock_s()
        if running != told or now_s - told_at_s >= TELL_EVERY_S:
            self._told = (now_s, running)
            self._notifier.say("READY=1", "WATCHDOG=1", f"STATUS={running} of {len(self._slots)} workers running")

    def _tend(self, slot: _Slot) -> None:
        now_s = self._clock_s()
        if slot.process is None:
            if slot.start_at_s is not None and now_s >= slot.start_at_s:
                self._start(slot, now_s)
            return
        status = slot.process.poll()
        if status is not None:
            self._ended(slot, status, now_s)
        elif slot.process.heard():
            slot.heard_at_s = now_s
        elif now_s - slot.heard_at_s > self._hang_limit_s + HANG_MARGIN_S:
            log.critical("slot.hung", slot=slot.number, pid=slot.process.pid, silent_s=now_s - slot.heard_at_s)
            slot.process.kill()
            slot.heard_at_s = now_s  # its end is seen at the next look

    def _start(self, slot: _Slot, now_s: float) -> None:
        try:
            slot.process = self._spawn(slot.number, slot.restarts + 1)
        except OSError as error:  # no process can be started now
            log.exception("slot.not_started", slot=slot.number, error=error.strerror)
            self._put_off(slot, 0.0, now_s)
            return
        slot.restarts += 1
        slot.started_at_s = slot.heard_at_s = now_s
        log.info("slot.started", slot=slot.number, pid=slot.process.pid, restarts=slot.restarts)

    def _ended(self, slot: _Slot, status: int, now_s: float) -> None:
        slot.process, slot.status = None, status
        lived_s = now_s - slot.started_at_s
        if status == EXIT_CONFIGURATION:
            slot.start_at_s, slot.given_up = None, True
            log.critical("slot.given_up", slot=slot.number, why="its configuration is wrong: its own words stand above")
            return
        log.warning("slot.ended", slot=slot.number, status=_named(status), lived_s=round(lived_s, 1))
        self._put_off(slot, lived_s, now_s)

    def _put_off(self, slot: _Slot, lived_s: float, now_s: float) -> None:
        slot.quick_ends = self._policy.quick_ends(slot.quick_ends, lived_s)
        wait_s = self._policy.wait_s(slot.quick_ends)
        slot.given_up = wait_s is None
        slot.start_at_s = now_s + (GIVEN_UP_WAIT_S if wait_s is None else wait_s)
        if wait_s is None:
            why = f"it ended {slot.quick_ends} times in a row within {self._policy.settled_after_s:.0f} s"
            log.critical("slot.given_up", slot=slot.number, why=why, wait_s=GIVEN_UP_WAIT_S)
        else:
            log.info("slot.starts_again", slot=slot.number, wait_s=wait_s)

    def _give_up(self) -> int:
        """No slot is left: say so to whoever started this, by the exit status."""
        wrong = all(slot.status == EXIT_CONFIGURATION for slot in self._slots)
        log.critical("supervisor.given_up", slots=[slot.number for slot in self._slots])
        return EXIT_CONFIGURATION if wrong else EXIT_AGAIN

    def _end(self) -> None:
        """Every worker finishes its micro-batch; one that takes too long is killed, which is safe too."""
        self._notifier.say("STOPPING=1")
        left = [slot for slot in self._slots if slot.process is not None]
        log.info("supervisor.stopping", slots=[slot.number for slot in left])
        for slot in left:
            if slot.process is not None:
                slot.process.end()
        deadline_s = self._clock_s() + END_PATIENCE_S
        while left and self._clock_s() < deadline_s:
            left = [slot for slot in left if slot.process is not None and slot.process.poll() is None]
            if left:
                self._notifier.say("WATCHDOG=1")
                self._wait(LOOK_EVERY_S / 2)
        for slot in left:
            if slot.process is not None:
                log.critical("slot.killed", slot=slot.number, why=f"it did not end within {END_PATIENCE_S:.0f} s")
                slot.process.kill()
        log.info("supervisor.stopped")


class WorkerProcess:
    """A worker in a process of its own, tied to this one by a pipe."""

    def __init__(self, post: Post, module: str = "scoring.worker.child") -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._lifeline = reading
        told = msgspec.json.encode(msgspec.structs.replace(post, supervisor=os.getpid(), lifeline=writing)).decode()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, told], stdin=subprocess.DEVNULL, pass_fds=[writing]
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """See ``Running``."""
        status = self._process.poll()
        if status is not None and self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        return status

    def heard(self) -> bool:
        """See ``Running``."""
        try:
            return bool(os.read(self._lifeline, 4_096))
        except OSError:  # nothing was written
            return False

    def end(self) -> None:
        """See ``Running``."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """See ``Running``."""
        self._process.kill()


def _named(status: int) -> str:
    """A signal by its name, anything else by its number."""
    if status >= 0:
        return str(status)
    try:
        return signal.Signals(-status).name
    except ValueError:
        return str(status)
