"""Processes that replay dead letters, each forked from one that has everything imported, and each with a plan.

A plan names a point and how often it is passed before the process dies (``kill``) or freezes (``stop``) there; a bug
replaces what holds. The forking process has one thread and opens no client.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

import msgspec
from confluent_kafka import Producer

from scoring.contract.errors import BatonError
from scoring.contract.replay import Note
from scoring.letters import replaying, session
from scoring.letters.finding import Selection
from scoring.letters.session import Session
from scoring.letters.transactions import Prepared, Replayer

PROJECT = Path(__file__).parents[3]
# Small, so that a replay has several transactions.
BATCH_LETTERS = 10
CALLS = ("init_transactions", "begin_transaction", "produce", "commit_transaction")
POINTS = (*(f"{call}.{side}" for call in CALLS for side in ("before", "after")), "noted.before", "noted.after")
DONE, OVERTAKEN, FAILED = 0, 3, 1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one replay is to do, and where it dies.

    Attributes:
        gate: a file that it locks (shared) before it begins, and so waits until nobody holds it exclusively.
    """

    bootstrap: str
    model: str
    point: str | None = None
    count: int = 1
    action: str = "kill"
    bug: str | None = None
    gate: str | None = None


class Points:
    """Counts passages, and acts at the planned one."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._passed = 0

    def reach(self, point: str) -> None:
        """The process is at ``point``."""
        if point != self._plan.point:
            return
        self._passed += 1
        if self._passed == self._plan.count:
            os.kill(os.getpid(), signal.SIGKILL if self._plan.action == "kill" else signal.SIGSTOP)

    def around(self, name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """A call between its two points."""
        self.reach(f"{name}.before")
        result = call(*arguments, **named)
        self.reach(f"{name}.after")
        return result


class FaultyProducer(Producer):
    """A producer whose calls are points."""

    points: Points

    def init_transactions(self, *arguments: Any) -> Any:
        return self.points.around("init_transactions", super().init_transactions, *arguments)

    def begin_transaction(self, *arguments: Any) -> Any:
        return self.points.around("begin_transaction", super().begin_transaction, *arguments)

    def produce(self, *arguments: Any, **named: Any) -> Any:
        result = self.points.around("produce", super().produce, *arguments, **named)
        if self.points._plan.point == "produce.after":
            self.flush(0.2)  # so that it dies with records at the broker, too
        return result

    def commit_transaction(self, *arguments: Any) -> Any:
        return self.points.around("commit_transaction", super().commit_transaction, *arguments)


class NotesOutside(Replayer):
    """The planted bug: the notes of a batch are sent by a client of their own, after the batch was committed."""

    aside: Producer
    waiting: list[Note]

    def put_back(self, batch: Any) -> None:
        self.waiting = []
        super().put_back(batch)
        for note in self.waiting:
            self.aside.produce(self._notes_topic, msgspec.json.encode(note), note.key(), 0)
        self.aside.flush(10)

    def _note(self, note: Note) -> None:
        self.waiting.append(note)


class NotesBefore(NotesOutside):
    """The planted bug the other way round: noted first, put back then."""

    def _commit(self, batch: Any) -> None:
        for note in self.waiting:
            self.aside.produce(self._notes_topic, msgspec.json.encode(note), note.key(), 0)
        self.aside.flush(10)
        self.waiting = []
        super()._commit(batch)


class Unfenced(Replayer):
    """The planted bug: every replay has a transactional id of its own, so that none fences another."""

    def __init__(self, model: str, *arguments: Any, **named: Any) -> None:
        super().__init__(f"{model}-{os.getpid()}", *arguments, **named)


class PlainlySent(Replayer):
    """The planted bug: the records are not part of the transaction, only the notes are."""

    aside: Producer

    def _put(self, prepared: Prepared) -> None:
        headers: Any = prepared.headers
        self.aside.produce(prepared.topic, prepared.value, prepared.key, prepared.partition, headers=headers)
        self.aside.flush(10)
        self._note(prepared.note)


BUGS: dict[str, type[Replayer]] = {
    "notes-outside": NotesOutside,
    "notes-before": NotesBefore,
    "unfenced": Unfenced,
    "records-outside": PlainlySent,
}


def replay(plan: Plan) -> int:
    """Replay everything, as ``baton dead-letters replay --all`` does; the exit status."""
    points = FaultyProducer.points = Points(plan)
    replaying.BATCH_LETTERS = BATCH_LETTERS
    session.noted = _around(points, session.noted)  # type: ignore[attr-defined]
    kafka = {"bootstrap.servers": plan.bootstrap}
    kind = BUGS.get(plan.bug or "", Replayer)
    if plan.bug in {"notes-outside", "notes-before", "records-outside"}:
        kind.aside = Producer(kafka)  # type: ignore[attr-defined]
    try:
        with Session(kafka, plan.model) as opened:
            order = opened.order(actor="test", why="a test")
            opened.replay(
                opened.letters(Selection()),
                order,
                clock=lambda: datetime.now(UTC),
                progress=lambda _: None,
                make_producer=FaultyProducer,
                replayer=kind,
            )
    except BatonError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return OVERTAKEN if type(error).__name__ == "Overtaken" else FAILED
    return DONE


def _around(points: Points, call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: points.around("noted", call, *arguments, **named)


class Child:
    """One replay, as its campaign sees it."""

    def __init__(self, pid: int, status: Callable[[], int]) -> None:
        self.pid = pid
        self._status = status

    def wait(self) -> int:
        """The exit status, negative where a signal ended it."""
        return self._status()

    def wake(self) -> None:
        """Let it go on that was frozen."""
        os.kill(self.pid, signal.SIGCONT)


class Nursery:
    """Starts replays. A context manager: leaving it ends what it started."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "replays.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.letters.replays"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._pids: list[int] = []

    def start(self, plan: Plan) -> Child:
        """Start one."""
        pid = int(self._ask({"start": msgspec.to_builtins(plan)}))
        self._pids.append(pid)
        return Child(pid, lambda: self._wait(pid))

    def stopped(self, child: Child) -> bool:
        """Wait until it is frozen or has ended; whether it is frozen."""
        return self._ask({"stopped": child.pid}) == "true"

    def _wait(self, pid: int) -> int:
        status = int(self._ask({"wait": pid}))
        self._pids.remove(pid)
        return status

    def _ask(self, order: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().decode().strip()
        assert answer, "the nursery of replays has ended"
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
        self._log.close()


def fork(plan: Plan) -> int:
    """Start a process for a plan; its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        if plan.gate is not None:
            with Path(plan.gate).open("rb") as gate:
                fcntl.flock(gate, fcntl.LOCK_SH)
        status = replay(plan)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve() -> None:
    """Take orders, a line each, until there are no more."""
    ended: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            answer: object = fork(msgspec.convert(order["start"], Plan))
            # The system gives the pids of those that ended to others: what became of them says nothing of this one.
            ended.pop(cast("int", answer), None)
        elif "wait" in order:
            pid = order["wait"]
            known = ended.pop(pid, None)
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if known is None else known
        else:
            pid = order["stopped"]
            _, status = os.waitpid(pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                answer = "true"
            else:
                ended[pid], answer = os.waitstatus_to_exitcode(status), "false"
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
