"""The supervisor with workers that end, crash and hang as told, and a clock of the test's own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scoring.contract.errors import ConfigurationError
from scoring.service.backoff import Backoff
from scoring.service.ending import EXIT_AGAIN
from scoring.service.stop import Stop
from scoring.service.systemd import Notifier, notifier
from scoring.worker.lifeline import Lifeline
from scoring.worker.slot import hold_slot, take_core
from scoring.worker.supervisor import END_PATIENCE_S, GIVEN_UP_WAIT_S, HANG_MARGIN_S, RestartPolicy, Running, Supervisor

HANG_LIMIT_S = 60.0


class Made:
    """A worker process as the test wants it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self.speaks = True
        self.stubborn = False
        self.signals: list[str] = []

    def poll(self) -> int | None:
        return self.status

    def heard(self) -> bool:
        return self.speaks

    def end(self) -> None:
        self.signals.append("end")
        if not self.stubborn:
            self.status = 0

    def kill(self) -> None:
        self.signals.append("kill")
        self.status = -signal.SIGKILL


class Stage:
    """Runs a supervisor; each of its waits is a step of the script, which may look, change things and pass time."""

    def __init__(self, *slots: int, policy: RestartPolicy | None = None, notifier: Notifier | None = None) -> None:
        self.now_s = 1_000.0
        self.started: list[tuple[int, int]] = []
        self.workers: dict[int, Made] = {}
        self.stop = Stop(lambda: self.now_s)
        self.script: list[Callable[[], object]] = []
        self.supervisor = Supervisor(
            slots,
            spawn=self.spawn,
            stop=self.stop,
            hang_limit_s=HANG_LIMIT_S,
            policy=policy,
            notifier=notifier,
            clock_s=lambda: self.now_s,
            wait=self.wait,
        )

    def spawn(self, slot: int, restarts: int) -> Running:
        self.started.append((slot, restarts))
        self.workers[slot] = Made(100 + len(self.started))
        return self.workers[slot]

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        if self.script:
            self.script.pop(0)()
        else:
            self.stop.request()

    def run(self, *script: Callable[[], object]) -> int:
        self.script = list(script)
        return self.supervisor.run()

    def ends(self, slot: int, status: int) -> Callable[[], None]:
        return lambda: setattr(self.workers[slot], "status", status)

    def passes(self, seconds: float) -> Callable[[], None]:
        def step() -> None:
            self.now_s += seconds

        return step


def test_every_slot_has_its_worker_and_all_are_ended_together() -> None:
    stage = Stage(3, 4, 5)
    assert stage.run() == 0
    assert stage.started == [(3, 0), (4, 0), (5, 0)]
    assert [worker.signals for worker in stage.workers.values()] == [["end"]] * 3


@pytest.mark.parametrize("status", [EXIT_AGAIN, 1, -signal.SIGSEGV, -signal.SIGKILL, 0])
def test_a_worker_that_ended_is_started_again_after_a_wait_and_the_others_are_left_alone(status: int) -> None:
    stage = Stage(0, 1)
    stage.run(stage.ends(0, status), lambda: None, stage.passes(0.5), stage.passes(1.0), lambda: None)
    assert stage.started == [(0, 0), (1, 0), (0, 1)]


def test_the_wait_grows_with_each_end_in_quick_succession_and_the_slot_is_given_up_at_last() -> None:
    policy = RestartPolicy(Backoff(1.0, 60.0), settled_after_s=60.0, limit=20)
    waits, ends = [], 0
    for _ in range(policy.limit + 1):
        ends = policy.quick_ends(ends, lived_s=1.0)
        waits.append(policy.wait_s(ends))
    assert waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert waits[-2:] == [60.0, None]
    assert policy.quick_ends(19, lived_s=60.0) == 1


def test_a_wrong_configuration_is_not_tried_again_and_the_others_go_on() -> None:
    stage = Stage(0, 1)
    assert stage.run(stage.ends(0, 2), stage.passes(600), stage.passes(600)) == 0
    assert stage.started == [(0, 0), (1, 0)]
    assert stage.workers[1].signals == ["end"]


@pytest.mark.parametrize(("status", "expected"), [(2, 2), (EXIT_AGAIN, EXIT_AGAIN)])
def test_with_no_slot_left_it_ends_and_says_why_by_its_status(status: int, expected: int) -> None:
    stage = Stage(0, 1, policy=RestartPolicy(limit=1))
    steps = [stage.ends(0, status), stage.ends(1, status), stage.passes(5), lambda: None]
    again = [] if status == 2 else [stage.ends(0, status), stage.ends(1, status), lambda: None, lambda: None]
    assert stage.run(*steps, *again, lambda: pytest.fail("it goes on")) == expected


def test_a_slot_that_was_given_up_is_started_again_much_later_while_others_work() -> None:
    stage = Stage(0, 1, policy=RestartPolicy(limit=0))
    stage.run(
        stage.ends(0, EXIT_AGAIN),
        stage.passes(GIVEN_UP_WAIT_S / 2),
        lambda: stage.started.append((-1, -1)),
        stage.passes(GIVEN_UP_WAIT_S),
        lambda: None,
    )
    assert stage.started == [(0, 0), (1, 0), (-1, -1), (0, 1)]


def test_a_worker_whose_hot_thread_is_silent_is_killed_and_replaced() -> None:
    stage = Stage(0, 1)

    def falls_silent() -> None:
        stage.workers[0].speaks = False

    def still_there() -> None:
        assert stage.workers[0].signals == []
        stage.now_s += 2 * HANG_MARGIN_S

    stage.run(falls_silent, stage.passes(HANG_LIMIT_S - 1), still_there, lambda: None, stage.passes(2.0), lambda: None)
    assert stage.started == [(0, 0), (1, 0), (0, 1)]
    assert stage.workers[1].signals == ["end"]


def test_a_worker_that_does_not_end_is_killed_in_the_end() -> None:
    stage = Stage(0, 1)

    def stubborn() -> None:
        stage.workers[1].stubborn = True
        stage.stop.request()

    assert stage.run(stubborn, *[lambda: None] * 10_000) == 0
    assert stage.workers[0].signals == ["end"]
    assert stage.workers[1].signals == ["end", "kill"]
    assert stage.now_s >= 1_000 + END_PATIENCE_S


def test_a_process_that_cannot_be_started_now_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(0)
    spawn, failures = stage.spawn, [OSError(11, "Resource temporarily unavailable")]

    def fails_once(slot: int, restarts: int) -> Running:
        if failures:
            raise failures.pop()
        return spawn(slot, restarts)

    monkeypatch.setattr(stage.supervisor, "_spawn", fails_once)
    stage.run(stage.passes(2.0), lambda: None)
    assert stage.started == [(0, 0)]


# --- a slot is one process's alone --------------------------------------------------------------------------------


def test_a_slot_that_is_taken_on_this_host_is_refused_with_its_holder(tmp_path: Path) -> None:
    held = hold_slot(tmp_path, "default/0")
    with pytest.raises(ConfigurationError, match=rf"slot default/0 is taken on this host by process {os.getpid()}"):
        hold_slot(tmp_path, "default/0", patience_s=0.0)
    hold_slot(tmp_path, "default/1").release()
    held.release()
    hold_slot(tmp_path, "default/0", patience_s=0.0).release()


def test_a_slot_is_free_again_when_its_process_was_killed(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from scoring.worker.slot import hold_slot\n"
    code += "held = hold_slot(Path(sys.argv[1]), 'default/0'); print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ConfigurationError, match="taken"):
            hold_slot(tmp_path, "default/0", patience_s=0.0)
        process.kill()
    hold_slot(tmp_path, "default/0").release()


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("a file in the way")
    with pytest.raises(ConfigurationError, match="BATON_CACHE_DIR: cannot write"):
        hold_slot(tmp_path, "default/0")


def test_workers_of_a_host_keep_to_different_cores_as_long_as_there_are_any(tmp_path: Path) -> None:
    first, second = take_core(tmp_path, {4, 7}), take_core(tmp_path, {4, 7})
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (4, 7)
    assert take_core(tmp_path, {4, 7}) is None
    first[1].release()
    again = take_core(tmp_path, {4, 7})
    assert again is not None
    assert again[0] == 4
    for _, held in (second, again):
        held.release()


# --- what ties a worker to its supervisor -------------------------------------------------------------------------


def test_a_lifeline_that_nobody_reads_does_not_stop_its_worker() -> None:
    reading, writing = os.pipe()
    lifeline = Lifeline(writing)
    for _ in range(100_000):  # more than a pipe holds
        lifeline.say()
    os.close(reading)
    lifeline.say()
    os.close(writing)


ORPHAN = """
import os, subprocess, sys, time
child = "import os, sys, time; from scoring.worker.lifeline import end_with; end_with(int(sys.argv[1]));"
child += "print(os.getpid(), flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child, str(os.getpid())])
time.sleep(600)
"""


def test_a_worker_ends_with_a_supervisor_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        os.kill(child, 0)
        supervisor.kill()
        assert supervisor.stdout.read() == b""  # its end of the pipe is closed: it is gone
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- systemd ------------------------------------------------------------------------------------------------------


def test_systemd_is_told_over_its_socket_and_nobody_else_is_needed(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        notifier({"NOTIFY_SOCKET": path}).say("READY=1", "STATUS=2 of 2 workers running")
        assert systemd.recv(1_000) == b"READY=1\nSTATUS=2 of 2 workers running"
    notifier({"NOTIFY_SOCKET": path}).say("READY=1")  # it went away
    notifier({}).say("READY=1")
    Notifier("@nowhere").say("READY=1")


class Listening(Notifier):
    def __init__(self) -> None:
        super().__init__("")
        self.heard: list[str] = []

    def say(self, *fields: str) -> None:
        self.heard.append(" ".join(fields))


def test_systemd_hears_that_it_is_ready_that_it_is_well_and_how_many_workers_run() -> None:
    systemd = Listening()
    stage = Stage(0, 1, notifier=systemd)
    stage.run(*[lambda: None] * 60, stage.ends(0, EXIT_AGAIN), lambda: None)
    both, one = "READY=1 WATCHDOG=1 STATUS=2 of 2 workers running", "READY=1 WATCHDOG=1 STATUS=1 of 2 workers running"
    assert systemd.heard[:5] == [both, both, both, one, "STOPPING=1"]  # every 5 s in 12 s, then the change
