"""The workers of a round: slots filled again and again, a visitor that comes and goes, a ledger that decides."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tests.faults.daemon.field import Field
from tests.faults.daemon.nursery import Child
from tests.faults.daemon.points import Needs, Plan
from tests.faults.daemon.reader import Reader

EXIT_AGAIN = 70
# A planned worker that has not come by its point until then is killed wherever it is.
PATIENCE_S = 20.0
# What a worker's log says once it scores.
SCORES = b"model.acknowledged"
VISITOR = 9
# Steps of a swap that a worker comes by also where the bundle is in its host's cache.
KNOWN = ("loaded", "taken_in", "settled", "remembered", "written", "acknowledged")
BACKLOG = 20_000
FED_AT_ONCE = 4_000
TICK_S = 0.03


class Post:
    """One slot: whenever its worker has died, the next planned one takes its place."""

    def __init__(self, field: Field, slot: int, todo: Sequence[Plan]) -> None:
        self.field = field
        self.slot = slot
        self.todo = list(todo)
        self.child: Child | None = None
        self.plan: Plan | None = None
        self.since_s = 0.0
        self.provoked = False
        self.restarts = 0
        self.anywhere = 0
        self._log = field.folder / f"worker-{slot}.log"
        self._log_bytes = 0

    @property
    def finished(self) -> bool:
        """Whether all plans were carried out and a worker without one runs."""
        return not self.todo and self.plan is None and self.child is not None and self.child.poll() is None

    def tend(self) -> None:
        """Fill the slot if it is empty; end a worker that does not come by its point."""
        if self.child is not None and (status := self.child.poll()) is None:
            if self.plan is not None and time.monotonic() - self.since_s > PATIENCE_S:
                self.child.kill()
                self.anywhere += 1
            return
        if self.child is not None:
            self._ended(status or 0)
        self.plan = self.todo[0] if self.todo else None
        self._log_bytes = self._log.stat().st_size if self._log.exists() else 0
        self._started(self.field.launch(self.slot, self.plan.as_dict() if self.plan else None))

    def arm(self, plan: Mapping[str, object], **variables: str) -> None:
        """Put a worker with a plan of another kind into the slot, in place of the one that was there."""
        self.plan = None
        self._started(self.field.launch(self.slot, plan, **variables))

    def _ended(self, status: int) -> None:
        asked = self.plan is not None and self.plan.needs is Needs.END
        assert status in {-9, EXIT_AGAIN} or (asked and status == 0), (
            f"slot {self.slot} ended with {status}, see its log in {self.field.folder}"
        )
        if status == EXIT_AGAIN:
            self.restarts += 1
        elif self.plan is not None and self.todo:
            self.todo.pop(0)

    def due(self, needs: Needs) -> bool:
        """Once, when its worker scores: whether what its plan needs has to happen now."""
        ready = self.plan is not None and self.plan.needs is needs and not self.provoked
        if ready and self._scores():
            self.provoked = True
            return True
        return False

    def _scores(self) -> bool:
        if self.child is None or self.child.poll() is not None or not self._log.exists():
            return False
        with self._log.open("rb") as log:
            log.seek(self._log_bytes)
            return SCORES in log.read()

    def _started(self, child: Child) -> None:
        self.child, self.since_s, self.provoked = child, time.monotonic(), False


class Crew:
    """Runs the round's course: kills as planned, decisions, joins and leaves, records all the while."""

    def __init__(
        self, field: Field, reader: Reader, chooser: random.Random, todo: Sequence[Plan], slots: int = 3
    ) -> None:
        self.field = field
        self.reader = reader
        self.chooser = chooser
        self.posts = [Post(field, slot, todo[slot::slots]) for slot in range(slots)]
        self.visitor: Child | None = None
        self.counts: Counter[str] = Counter()
        self._visit_at_s = self._decide_at_s = 0.0
        self._promote_at_s: float | None = None

    def run(self, *, records: int, timeout_s: float) -> None:
        """Until every plan was carried out and so many records were produced."""

        def over() -> bool:
            self._provoke()
            self._decide()
            self._move()
            return all(post.finished for post in self.posts) and self.field.produced >= records

        self.wait(over, timeout_s, lambda: f"the plans of the round were not carried out: {self._left()}")

    def wait(self, condition: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
        """Feed and tend until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                self.ask_where()
                raise AssertionError(f"{otherwise()} (waited {timeout_s} s)")
            self.tend()
            time.sleep(TICK_S)  # the pace of looking

    def wait_for_progress(self, timeout_s: float, why: str) -> float:
        """Wait until every partition has new outcomes; returns how long that took."""
        before, started = list(self.reader.count), time.monotonic()
        self.wait(
            lambda: all(now > then for now, then in zip(self.reader.count, before, strict=True)),
            timeout_s,
            lambda: f"{why}: a partition has no new outcome: {before} -> {self.reader.count} of {self.field.ends}",
        )
        return time.monotonic() - started

    def tend(self) -> None:
        """Feed, and fill empty slots."""
        self.feed()
        for post in self.posts:
            post.tend()
        if self.reader.failure is not None:
            raise self.reader.failure

    def feed(self) -> None:
        """Keep some records ahead of the workers."""
        if self.field.produced - self.reader.total < BACKLOG:
            self.field.feed(FED_AT_ONCE)

    def close(self, timeout_s: float = 90.0) -> None:
        """Let healthy workers score what is left, then stop them in order, and read to the end."""
        if self.visitor is not None and self.visitor.poll() is None:
            self._leave()
        self.promote(fetched=True)
        self.field.feed(FED_AT_ONCE)
        self.field.delivered()
        deadline = time.monotonic() + timeout_s
        while self.reader.total < self.field.produced and time.monotonic() < deadline:
            for post in self.posts:
                post.tend()
            time.sleep(TICK_S)  # the pace of looking
        if self.reader.total < self.field.produced:
            self.ask_where()
        for post in self.posts:
            assert post.child is not None
            post.child.send(signal.SIGTERM)
        for post in self.posts:
            assert post.child is not None
            status = post.child.wait(45)
            assert status in {0, EXIT_AGAIN}, f"slot {post.slot} ended with {status}"
        if self.visitor is not None:
            self.visitor.wait(45)
        self.reader.finish()

    def ask_where(self) -> None:
        """Let every worker write into its log where its threads are."""
        for post in self.posts:
            if post.child is not None:
                post.child.send(signal.SIGUSR2)
        time.sleep(0.5)  # they write meanwhile; what follows ends them

    def promote(self, *, fetched: bool = False) -> None:
        """Decide for the next version; one that is in the cache costs each worker a fraction of a second only."""
        self.field.promote_next(fetched=fetched)
        self.counts["swaps"] += 1

    def _provoke(self) -> None:
        for post in self.posts:
            if post.due(Needs.SWAP):
                self.promote(fetched=post.plan is not None and post.plan.point.startswith(KNOWN))
            if post.due(Needs.END) and post.child is not None:
                post.child.send(signal.SIGTERM)
            if post.due(Needs.REBALANCE):
                self._visit_at_s = 0.0
            if post.due(Needs.RETIREMENT):
                self.field.retire()
                self.counts["retirements"] += 1
                self._promote_at_s = time.monotonic() + 1.5
        if self._promote_at_s is not None and time.monotonic() > self._promote_at_s:
            self._promote_at_s = None
            self.promote(fetched=True)

    def _decide(self) -> None:
        """Promotions, with rollbacks and versions that have to be refused among them."""
        now_s = time.monotonic()
        if now_s < self._decide_at_s or self._promote_at_s is not None:
            return
        self._decide_at_s = now_s + self.chooser.uniform(8.0, 15.0)
        kind = self.chooser.random() if self.field.sequence > 1 else 1.0
        if kind < 0.15:
            self.field.promote_next(golden_error=1e-9)
            self.counts["refusals"] += 1
        elif kind < 0.35:
            self.field.roll_back()
            self.counts["rollbacks"] += 1
        else:
            self.promote(fetched=self.field.sequence > 0 and kind < 0.9)
        if self.field.wind:
            self.field.blow(self.chooser)

    def _move(self) -> None:
        """The visitor joins, leaves in order, or is killed; each makes partitions move."""
        now_s = time.monotonic()
        if now_s < self._visit_at_s:
            return
        self._visit_at_s = now_s + self.chooser.uniform(2.5, 5.0)
        if self.visitor is None or self.visitor.poll() is not None:
            self.visitor = self.field.launch(VISITOR)
            self.counts["joins"] += 1
        else:
            self._leave()

    def _leave(self) -> None:
        assert self.visitor is not None
        if self.chooser.random() < 0.3:
            self.visitor.kill()
        else:
            self.visitor.send(signal.SIGTERM)
        self.counts["leaves"] += 1

    def _left(self) -> str:
        return str({post.slot: [plan.as_dict() for plan in post.todo] for post in self.posts})
