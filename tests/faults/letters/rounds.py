"""Rounds: replays that are killed, that run at the same time, and that freeze while another one takes over."""

import fcntl
import random
import signal
from pathlib import Path
from typing import Any

from tests.faults.letters.replays import BATCH_LETTERS, DONE, FAILED, OVERTAKEN, POINTS, Nursery, Plan
from tests.faults.letters.stage import Letters

LETTERS = 40
_TRANSACTIONS = LETTERS // BATCH_LETTERS
_PASSAGES = {"produce": 2 * LETTERS, "begin_transaction": _TRANSACTIONS, "commit_transaction": _TRANSACTIONS}


def a_point(chance: random.Random) -> tuple[str, int]:
    """A point, and at which of its passages."""
    point = chance.choice(POINTS)
    return point, chance.randint(1, _PASSAGES.get(point.split(".")[0], 1))


def killed(
    bootstrap: str, nursery: Nursery, chance: random.Random, *, bug: str | None = None, points: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Replays one after the other, each killed somewhere; looked at after each; then one that is left alone."""
    letters = Letters(bootstrap, LETTERS)
    kills = []
    for number in range(len(points) or 4):
        point, count = (points[number], 1) if points else a_point(chance)
        plan = Plan(bootstrap=bootstrap, model=letters.model, point=point, count=count, bug=bug)
        status = nursery.start(plan).wait()
        assert status in {-signal.SIGKILL, DONE}, f"a replay ended with {status}"
        if status != DONE:
            kills.append(point)
        if point == "commit_transaction.after":
            letters.rest()
        found = letters.settled(2.0 if bug else 15.0)
        assert found.faultless, f"after a kill at {point} ({count}): {found}"
    finish(bootstrap, nursery, letters, bug)
    return {"kills": len(kills), "points": kills}


def at_once(
    bootstrap: str, nursery: Nursery, chance: random.Random, folder: Path, *, bug: str | None = None, count: int = 3
) -> dict[str, Any]:
    """Several replays that begin together, one of them perhaps killed."""
    letters = Letters(bootstrap, LETTERS)
    gate = folder / f"{letters.model}.gate"
    gate.touch()
    with gate.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        children = []
        for number in range(count):
            point, passage = a_point(chance) if number == 0 and chance.random() < 0.5 else (None, 1)
            plan = Plan(bootstrap=bootstrap, model=letters.model, point=point, count=passage, bug=bug, gate=str(gate))
            children.append(nursery.start(plan))
        fcntl.flock(held, fcntl.LOCK_UN)
    statuses = [child.wait() for child in children]
    assert set(statuses) <= {DONE, OVERTAKEN, FAILED, -signal.SIGKILL}, statuses
    found = letters.settled()
    assert found.faultless, f"after {statuses}: {found}"
    finish(bootstrap, nursery, letters, bug)
    return {"replays": count, "done": statuses.count(DONE), "kills": statuses.count(-signal.SIGKILL)}


def frozen(
    bootstrap: str,
    nursery: Nursery,
    chance: random.Random,
    *,
    bug: str | None = None,
    at: tuple[str, int] | None = None,
) -> dict[str, Any]:
    """A replay that freezes, another one that does all of it, and the first one that wakes up behind it."""
    letters = Letters(bootstrap, LETTERS)
    point, count = at or a_point(chance)
    first = nursery.start(
        Plan(bootstrap=bootstrap, model=letters.model, point=point, count=count, action="stop", bug=bug)
    )
    if not nursery.stopped(first):
        finish(bootstrap, nursery, letters, bug)
        return {"frozen": 0}
    assert nursery.start(Plan(bootstrap=bootstrap, model=letters.model, bug=bug)).wait() == DONE
    before = letters.settled()
    first.wake()
    status = first.wait()
    letters.rest()
    found = letters.settled()
    assert found.faultless, f"woken at {point} ({count}), ended with {status}: {found}; before: {before}"
    finish(bootstrap, nursery, letters, bug)
    return {"frozen": 1, "overtaken": int(status == OVERTAKEN), "points": [point]}


def finish(bootstrap: str, nursery: Nursery, letters: Letters, bug: str | None) -> None:
    """One that is left alone: then everything is put back, once."""
    status = nursery.start(Plan(bootstrap=bootstrap, model=letters.model, bug=bug)).wait()
    assert status == DONE, f"a replay that was left alone ended with {status}"
    letters.rest()
    found = letters.settled()
    assert found.faultless, found
    assert (found.replayed, found.lost) == (letters.count, 0), found
