"""Slots that are filled again and again with sinks that die or freeze as planned, under a stream that is fed."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from tests.faults.daemon.nursery import Child
from tests.faults.sink.faulty_sink import POINTS
from tests.faults.sink.stage import SESSION_TIMEOUT_MS, Ground
from tests.support.arena import wait_until
from tests.support.sink_oracle import Verdict, judge, rows_in

SLOTS = 2
# A planned sink that has not come by its point by then is killed wherever it is.
PATIENCE_S = 6.0
FROZEN_S = SESSION_TIMEOUT_MS / 1000 + 1.5
KILLED, AGAIN = -9, 70
_RARELY = {"identity", "subscribe", "close"}
_OFTEN = {"poll", "consume", "write", "moved", "appended", "replaced", "commit"}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A sink that acts at the ``count``-th passing of a point; without one it is killed after ``count`` tenths."""

    point: str | None = None
    count: int = 1
    action: str = "kill"

    def as_dict(self) -> dict[str, object]:
        """What the sink reads."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if value is not None}


def plans(chooser: random.Random, count: int, first: int, *, action: str = "kill") -> list[Plan]:
    """Every third anywhere, the others at the points in turn from number ``first`` on, so a campaign comes by all."""
    names = [point for point in sorted(POINTS) if not point.startswith("close")]
    random.Random("points").shuffle(names)
    found = []
    for number in range(count):
        if number % 3 == 2 and action == "kill":
            found.append(Plan(count=chooser.randint(1, 20)))
        else:
            found.append(_at(chooser, names[(first + number) % len(names)], action))
    return found


def _at(chooser: random.Random, point: str, action: str) -> Plan:
    call = point.partition(".")[0]
    most = 12 if call in _OFTEN else 1 if call in _RARELY else 3
    return Plan(point=point, count=chooser.randint(1, most), action=action)


class Slot:
    """One slot: a planned sink while there are plans, a healthy one afterwards."""

    def __init__(self, ground: Ground, number: int, todo: list[Plan]) -> None:
        self._ground = ground
        self._number = number
        self._todo = todo
        self._plan: Plan | None = None
        self._since_s = 0.0
        self.child: Child | None = None
        self.counts: Counter[str] = Counter()

    @property
    def finished(self) -> bool:
        """Whether all plans were carried out and a healthy sink runs."""
        return not self._todo and self._plan is None and self.child is not None and self.child.poll() is None

    def tend(self) -> None:
        """Start the next sink where there is none; end or wake the one that has had its time."""
        if self.child is None or (status := self.child.poll()) is not None:
            if self.child is not None:
                self._ended(status)
            self._start()
            return
        age_s = time.monotonic() - self._since_s
        if self._plan is None:
            return
        if self.child.frozen():
            self._succeed()
        elif age_s > (self._plan.count / 10 if self._plan.point is None else PATIENCE_S):
            self.counts["anywhere"] += 1
            self.child.kill()

    def _start(self) -> None:
        self._plan = self._todo.pop() if self._todo else None
        self._since_s = time.monotonic()
        planned = self._plan is not None and self._plan.point is not None
        self.child = self._ground.start(self._number, self._plan.as_dict() if planned and self._plan else None)

    def _ended(self, status: int | None) -> None:
        if status == KILLED:
            self.counts["kills"] += 1
        elif status == AGAIN:
            self.counts["again"] += 1
        else:
            raise AssertionError(f"a sink ended with status {status}\n{self._ground.logs()}")

    def _succeed(self) -> None:
        """The sink is frozen: its successor comes, in its slot or as the others; then it wakes up."""
        frozen = self.child
        assert frozen is not None
        in_its_slot = self._since_s % 2 < 1
        if in_its_slot:
            self._plan = None
            self.child = self._ground.start(self._number)
        threading.Event().wait(FROZEN_S)
        frozen.send(signal.SIGCONT)
        self.counts["frozen"] += 1
        if in_its_slot:
            self._fence(frozen)
        else:
            self._plan = Plan(count=0)  # it is killed once it had a moment to do harm
            self._since_s = time.monotonic() + 1

    def _fence(self, frozen: Child) -> None:
        """Of two in a slot the one that joined last stays: mostly the successor, unless the frozen one never joined."""
        both = [child for child in (frozen, self.child) if child is not None]
        wait_until(lambda: any(c.poll() is not None for c in both), 60, f"both run on\n{self._ground.logs()}")
        (gone,) = (child for child in both if child.poll() is not None)
        assert gone.poll() == AGAIN, f"it ended with {gone.poll()}\n{self._ground.logs()}"
        self.counts["fenced"] += 1
        (self.child,) = (child for child in both if child is not gone)
        if self._todo:  # it makes room for the next one after a while
            self._plan, self._since_s = Plan(count=10), time.monotonic()


class Feed:
    """Feeds the stream in a thread of its own, until there are enough records and it is told to stop."""

    def __init__(self, ground: Ground, records: int, chooser: random.Random) -> None:
        self._ground = ground
        self._records = records
        self._chooser = chooser
        self._stop = threading.Event()
        self._abandoned = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until it has fed enough."""
        self._stop.set()
        self._thread.join(300)
        assert not self._thread.is_alive(), "the stream could not be fed"
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Feed no more: the round has failed."""
        self._abandoned = True
        self._thread.join(60)

    def _run(self) -> None:
        try:
            while not self._abandoned and (self._fed() < self._records or not self._stop.is_set()):
                enough = self._fed() >= self._records
                self._ground.stream.feed_once(20 if enough else self._chooser.choice((5, 50, 400, 2_000)))
                if enough or not self._stop.is_set():
                    self._stop.wait(self._chooser.random() / 10)
        except Exception as error:
            self._error = error

    def _fed(self) -> int:
        return sum(self._ground.stream.committed.values())


def run(ground: Ground, slots: list[Slot], *, timeout_s: float, beside: Callable[[], None] = lambda: None) -> None:
    """Tend the slots until all plans were carried out.

    Args:
        beside: called again and again meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    while not all(slot.finished for slot in slots):
        assert time.monotonic() < deadline, f"not all plans were carried out within {timeout_s} s\n{ground.logs()}"
        for slot in slots:
            slot.tend()
        beside()
        threading.Event().wait(0.02)


def finish(ground: Ground, timeout_s: float = 120.0) -> Verdict:
    """Wait until the tables hold everything, and judge.

    Raises:
        AssertionError: something is missing, doubled or altered.
    """
    expected = sum(ground.stream.committed.values())
    wait_until(lambda: rows_in(ground.url) >= expected, timeout_s, f"rows are missing\n{ground.logs()}", every_s=0.2)
    verdict = judge(ground.stream, ground.url)
    deadline = time.monotonic() + 60
    while not verdict.faultless and verdict.only_offsets and time.monotonic() < deadline:  # markers take a second
        threading.Event().wait(0.5)
        verdict = judge(ground.stream, ground.url)
    assert verdict.faultless, f"{verdict}\n{ground.logs()}"
    return verdict
