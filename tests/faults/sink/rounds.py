"""One round of each kind: what is hurt, and what has to hold afterwards. Each returns a line of results."""

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.faults.sink.crew import SLOTS, Feed, Slot, finish, plans, run
from tests.faults.sink.stage import Ground, Stage
from tests.support.postgres import PostgresServer

RECORDS_PER_KILL = 2_500
TIMEOUT_S = 15.0


def sqlite_round(stage: Stage, number: int, seed: int, kills: int) -> dict[str, Any]:
    """Sinks die at named points and anywhere, while they fill tables on SQLite."""
    return _round(stage, f"sqlite {seed} {number}", number, kills, postgres=False)


def postgres_round(stage: Stage, number: int, seed: int, kills: int) -> dict[str, Any]:
    """The same on PostgreSQL."""
    return _round(stage, f"postgres {seed} {number}", number, kills, postgres=True)


def database_round(stage: Stage, number: int, seed: int, kills: int) -> dict[str, Any]:
    """As many times the server dies, or one of its processes; every third time a sink does."""
    chooser = random.Random(f"server {seed} {number}")
    killer = Killer(stage.server, chooser, kills)
    line = _round(
        stage, f"database {seed} {number}", number, max(2, kills // 3), postgres=True, beside=killer, pace=3.0
    )
    return {**line, **killer.counts}


def zombie_round(stage: Stage, number: int, seed: int, freezes: int) -> dict[str, Any]:
    """Sinks freeze, are succeeded in their slot or by the others, and wake up."""
    return _round(stage, f"zombie {seed} {number}", number, freezes, postgres=number % 2 == 1, action="stop", pace=3.0)


class Killer:
    """Kills the server, or one of its processes, every now and then."""

    def __init__(self, server: PostgresServer, chooser: random.Random, kills: int) -> None:
        self._server = server
        self._chooser = chooser
        self._left = kills
        self._at_s = time.monotonic() + 2
        self.counts = {"server_kills": 0, "process_kills": 0}

    @property
    def finished(self) -> bool:
        """Whether it has killed often enough."""
        return self._left == 0

    def __call__(self) -> None:
        """Kill, when it is time."""
        if self.finished or time.monotonic() < self._at_s:
            return
        self._left -= 1
        if self._chooser.random() < 0.3:
            self._server.kill()
            time.sleep(self._chooser.random())
            self._server.start()
            self.counts["server_kills"] += 1
        else:
            self.counts["process_kills"] += self._server.kill_one(self._chooser)
        self._at_s = time.monotonic() + 0.5 + 2 * self._chooser.random()


def _round(
    stage: Stage,
    name: str,
    number: int,
    count: int,
    *,
    postgres: bool,
    action: str = "kill",
    pace: float = 1.0,
    beside: Callable[[], None] | None = None,
) -> dict[str, Any]:
    chooser, began_s = random.Random(name), time.monotonic()
    ground = stage.ground(name.replace(" ", "-"), postgres=postgres, seed=name)
    feed = Feed(ground, RECORDS_PER_KILL * count, random.Random(f"feed {name}"))
    todo = plans(chooser, count, number * count, action=action)
    slots = [Slot(ground, slot, todo[slot::SLOTS]) for slot in range(SLOTS)]
    try:
        run(ground, slots, timeout_s=max(120.0, TIMEOUT_S * pace * count), beside=beside or (lambda: None))
        while isinstance(beside, Killer) and not beside.finished:
            beside()
            for slot in slots:
                slot.tend()
    except BaseException:
        feed.abandon()
        raise
    feed.end()
    stage.server.wait_until_ready()
    return _line(ground, slots, began_s)


def _line(ground: Ground, slots: list[Slot], began_s: float) -> dict[str, Any]:
    verdict = finish(ground)
    counts: Counter[str] = Counter()
    for slot in slots:
        counts += slot.counts
    return {
        "records": verdict.records,
        "rows": verdict.rows,
        "latest": verdict.latest,
        **{name: counts[name] for name in ("kills", "anywhere", "again", "frozen", "fenced")},
        "points": dict(Counter(str(line["point"]) for line in ground.acted())),
        "seconds": round(time.monotonic() - began_s, 1),
    }
