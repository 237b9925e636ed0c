"""A campaign of kills: slots that are filled again and again with workers that die as planned, under a fed stream."""

import random
import subprocess
import time
from collections.abc import Sequence

import msgspec

from tests.support.arena import PARTITIONS, Arena

POINTS = tuple(
    f"{call}.{when}"
    for call in ("poll", "consume", "begin", "produce", "flush", "send_offsets", "commit")
    for when in ("before", "after")
)
RECOVERY_POINTS = tuple(
    f"{call}.{when}"
    for call in ("init_transactions", "subscribe", "assign", "committed", "seek", "resume")
    for when in ("before", "after")
)


# A planned worker that has been at work for so long and has not died is killed wherever it is.
PLAN_PATIENCE_S = 12.0
# It has so long to get partitions: a process starts slowly where others keep the machine busy.
START_PATIENCE_S = 60.0
BURST_S = 1.0


class Plan(msgspec.Struct, frozen=True):
    """Where a worker dies: at the ``count``-th passing of ``point``, with ``open`` transactions where that is given."""

    point: str
    count: int = 1
    open: int | None = None
    topic: str | None = None

    def as_dict(self) -> dict[str, object]:
        """What the faulty worker reads."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if value is not None}


def plans(seed: int, kills: int, acknowledgements_topic: str) -> list[Plan]:
    """A reproducible list of plans: every point, both transactions open, and inside a swap."""
    chooser = random.Random(seed)
    fixed = [
        Plan("produce.after", chooser.randint(300, 900), 2),
        Plan("produce.after", chooser.randint(1, 200), 2),
        Plan("commit.before", 1, 2),
        Plan("send_offsets.after", chooser.randint(2, 8), 1),
        Plan("commit.after", chooser.randint(2, 8), 1),
        Plan("produce.before", 1, None, acknowledgements_topic),
        Plan("produce.after", 1, None, acknowledgements_topic),
    ]
    points = [*POINTS, *RECOVERY_POINTS]
    chooser.shuffle(points)
    anywhere = [Plan(point, 1 if point in RECOVERY_POINTS else chooser.randint(2, 12)) for point in points]
    chosen = (fixed + anywhere)[:kills]
    while len(chosen) < kills:
        chosen.append(Plan(chooser.choice(POINTS), chooser.randint(1, 30)))
    chooser.shuffle(chosen)
    return chosen


class Slot:
    """One slot of the deployment: starts the next planned worker whenever the one before has died."""

    def __init__(self, arena: Arena, number: int, todo: Sequence[Plan], bug: str | None = None) -> None:
        self.arena = arena
        self.number = number
        self.todo = list(todo)
        self.bug = bug
        self.process: subprocess.Popen[bytes] | None = None
        self.planned = False
        self.started = 0.0
        self._at_work: float | None = None
        self._logged_before = 0

    @property
    def finished(self) -> bool:
        """Whether all plans were carried out and an unplanned worker is running."""
        return not self.todo and not self.planned and self.process is not None and self.process.poll() is None

    def tend(self, *, killing: bool) -> None:
        """Start a worker where there is none: a planned one while ``killing``, else one that stays healthy."""
        if self.process is not None and self.process.poll() is None:
            if self.todo and self._overdue(killing):
                self._kill_anyhow(self.process)
            return
        if self.planned and self.process is not None and self.process.returncode == -9:
            self.todo.pop(0)
        self.planned = killing and bool(self.todo)
        plan = self.todo[0].as_dict() if self.planned else {}
        self.process = self.arena.start(self.number, {**plan, **({"bug": self.bug} if self.bug else {})})
        self.started = time.monotonic()
        self._at_work = None
        self._logged_before = len(self.arena.log_of(self.number))

    def _overdue(self, killing: bool) -> bool:
        """A planned worker that does not come by its point, or a healthy one that has had its time."""
        return killing and (not self.planned or self._has_had_its_time())

    def _has_had_its_time(self) -> bool:
        now = time.monotonic()
        if self._at_work is None and self._has_partitions():
            self._at_work = now
        if self._at_work is None:
            return now - self.started > START_PATIENCE_S
        return now - self._at_work > PLAN_PATIENCE_S

    def _has_partitions(self) -> bool:
        return "partitions.assigned" in self.arena.log_of(self.number)[self._logged_before :]

    def _kill_anyhow(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        line = {"point": "anywhere", "open": None, "slot": str(self.number)}
        with self.arena.kills.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def run(arena: Arena, slots: Sequence[Slot], *, swaps: int, records_per_s: int, timeout_s: float) -> float:
    """Feed and tend until every plan was carried out and every version was promoted; returns how long it took.

    Versions are promoted one after the other, each after a further share of the kills and once the one before
    scores; kills wait where they are ahead of the swaps, so that both go on together.
    """
    started = fed = time.monotonic()
    kills = sum(len(slot.todo) for slot in slots)
    version = 0
    while time.monotonic() - started < timeout_s:
        done = kills - sum(len(slot.todo) for slot in slots)
        behind = version < swaps + 1 and done >= kills * version // (swaps + 1)
        if behind and (version == 0 or _scores(arena, slots, version)):
            version += 1
            arena.promote(version)
        for slot in slots:
            slot.tend(killing=not behind)
        if time.monotonic() - fed > BURST_S:  # bursts, so that transactions overlap
            arena.feed(int(records_per_s * BURST_S))
            for partition in range(PARTITIONS):
                arena.feed_raw(b'{"id": %d' % arena.produced, partition=partition)
            fed = time.monotonic()
        if version == swaps + 1 and all(slot.finished for slot in slots) and _scores(arena, slots, version):
            return time.monotonic() - started
        time.sleep(0.05)  # the pace of the feed
    left = {slot.number: [plan.as_dict() for plan in slot.todo] for slot in slots}
    raise AssertionError(f"the campaign did not end within {timeout_s} s; plans left: {left}")


def _scores(arena: Arena, slots: Sequence[Slot], version: int) -> bool:
    """Whether some slot said that this version, or a later one, is live there."""
    return any(int(str(arena.state(slot.number).get("version") or 0)) >= version for slot in slots)
