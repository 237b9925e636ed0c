"""Rounds of zombies: workers that freeze for longer than the group waits, are succeeded, and wake up."""

import random
import signal
import time
from collections import Counter
from typing import Any

from tests.faults.daemon.crew import EXIT_AGAIN, Crew, Post
from tests.faults.daemon.field import SESSION_TIMEOUT_MS
from tests.faults.daemon.points import Plan, hot_plans
from tests.faults.daemon.reader import Reader
from tests.faults.daemon.rounds import result
from tests.faults.daemon.stage import Stage

SLOTS = 3
FREEZE_TIMEOUT_S = 8.0
SUCCESSION_TIMEOUT_S = 40.0
END_TIMEOUT_S = 30.0


class Zombie:
    """One slot whose worker is frozen at a named point, succeeded, and woken; step by step, beside others.

    ``same``: a fresh process takes the slot, and the woken one must end. Otherwise the other workers take the
    partitions over, and the woken one may come back or end.
    """

    def __init__(self, crew: Crew, post: Post, plan: Plan, *, same: bool) -> None:
        self._crew = crew
        self._post = post
        self._same = same
        assert post.child is not None
        post.child.kill()
        post.arm(plan.as_dict())
        assert post.child is not None
        self._frozen = post.child
        self._since_s = time.monotonic()
        self._step = self._freezing
        self._before: list[int] = []
        self.point = plan.point
        self.outcome: str | None = None

    def step(self) -> bool:
        """Go on where possible; true when it is over."""
        self._step()
        return self.outcome is not None

    def _freezing(self) -> None:
        if not self._frozen.frozen():
            if time.monotonic() - self._since_s < FREEZE_TIMEOUT_S:
                return
            self.point = "anywhere"
            self._frozen.send(signal.SIGSTOP)
        self._since_s, self._before = time.monotonic(), list(self._crew.reader.count)
        if self._same:  # as on another host: what one host's workers share would keep the successor out
            self._post.arm({}, BATON_CACHE_DIR=str(self._crew.field.folder / "cache of another host"))
        self._step = self._succeeded

    def _succeeded(self) -> None:
        waited_s = time.monotonic() - self._since_s
        moved = all(now > then for now, then in zip(self._crew.reader.count, self._before, strict=True))
        if waited_s < 1.3 * SESSION_TIMEOUT_MS / 1_000 or not moved:
            assert waited_s < SUCCESSION_TIMEOUT_S, (
                f"nobody took over from the zombie of slot {self._post.slot} ({self.point}, same={self._same}): "
                f"{self._before} -> {self._crew.reader.count}"
            )
            return
        self._frozen.send(signal.SIGCONT)
        self._since_s, self._before = time.monotonic(), list(self._crew.reader.count)
        self._step = self._woken

    def _woken(self) -> None:
        waited_s = time.monotonic() - self._since_s
        status = self._frozen.poll()
        if status is not None:
            assert status == EXIT_AGAIN, f"the zombie of slot {self._post.slot} ended with {status}"
            self.outcome = "ended"
        elif self._same:
            assert waited_s < END_TIMEOUT_S, f"the zombie of slot {self._post.slot} lives on beside its successor"
        elif waited_s > 2.0 and all(
            now > then for now, then in zip(self._crew.reader.count, self._before, strict=True)
        ):
            self.outcome = "came back"
        else:
            assert waited_s < SUCCESSION_TIMEOUT_S, f"after the zombie of slot {self._post.slot} woke nothing went on"


def zombie_round(stage: Stage, number: int, seed: int, zombies: int) -> dict[str, Any]:
    """Workers freeze in the middle of their calls; whoever wakes up changes nothing."""
    chooser = random.Random(f"zombie {seed} {number}")
    field = stage.field(f"zombie-{number}")
    started = time.monotonic()
    outcomes: Counter[str] = Counter()
    todo = hot_plans(chooser, zombies, action="stop")
    with Reader(field) as reader:
        crew = Crew(field, reader, chooser, [], slots=SLOTS)
        crew.promote()
        crew.wait_for_progress(60.0, "at the start")
        reader.reset_gap()
        running: dict[int, Zombie] = {}

        def go_on() -> bool:
            for slot in range(SLOTS - 1):  # the last slot stays healthy, so that somebody can take over
                if slot not in running and todo:
                    running[slot] = Zombie(crew, crew.posts[slot], todo.pop(), same=chooser.random() < 0.5)
                elif slot in running and running[slot].step():
                    zombie = running.pop(slot)
                    outcomes[f"{'same' if zombie._same else 'other'} slot, {zombie.outcome}"] += 1
                    if chooser.random() < 0.3:
                        crew.promote(fetched=True)
            return not todo and not running

        crew.wait(go_on, 40.0 * zombies, lambda: "the zombies did not come to an end")
        crew.close()
        found = result(field, reader, crew, started)
    return {**found, "zombies": zombies, "outcomes": dict(outcomes)}
