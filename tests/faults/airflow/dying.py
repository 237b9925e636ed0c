"""Steps whose process kills itself at a named point, as a file of plans says; each plan is carried out once.

The process is the one in which Airflow runs the task: it dies with everything that it holds, and Airflow finds it gone.
"""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

import training.promote
from baton_airflow.steps import ANNOUNCE, PROMOTE, WAIT, Asked, Steps
from scoring.promotion import decide, publisher
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.registry.folder import FolderRegistry
from tests.support.promoter import delivered, die, dying_after, dying_at_commit, dying_before

PLANS = "BATON_TEST_KILLS"
ANYWHERE = "anywhere"
# How long a task's own work takes at most: a kill "anywhere" falls into that time.
WORK_S = 0.5

POINTS: dict[str, dict[str, Callable[[], None]]] = {
    PROMOTE: {
        "before-read-back": lambda: dying_before(decide, "read_back"),
        "read-back": lambda: dying_after(decide, "read_back"),
        "inserted": lambda: dying_after(Ledger, "_decide"),
        "decided": lambda: dying_after(Ledger, "decide"),
    },
    ANNOUNCE: {
        "compared": lambda: dying_after(KafkaNotices, "newest"),
        "before-fencing": lambda: dying_before(publisher.Publisher, "__enter__"),
        "fenced": lambda: dying_after(publisher.Publisher, "__enter__"),
        "produced": lambda: dying_at_commit(delivered),
        "committed": lambda: dying_after(publisher.Publisher, "publish"),
        "before-alias": lambda: dying_before(FolderRegistry, "set_alias"),
        "aliased": lambda: dying_after(FolderRegistry, "set_alias"),
        "repaired": lambda: dying_after(training.promote, "repair"),
    },
    WAIT: {},
}
"""By task, the points inside its work; ``begun`` and ``handed-on`` stand before and behind it."""
BEGUN, HANDED_ON = "begun", "handed-on"
# The task that waits ends its process twice: when it hands the wait over, and when it takes the result.
RESUMED, TAKEN = "resumed", "taken"
# A planted bug: each try of a task says that it is a run of its own, so that none finds its own decision again.
BUG, RUN_PER_TRY = "bug", "run-per-try"


def points(task_id: str) -> tuple[str, ...]:
    """Where a task can be killed, in the order in which it comes by."""
    if task_id == WAIT:
        return (BEGUN, HANDED_ON, RESUMED, TAKEN, ANYWHERE)
    return (BEGUN, *POINTS[task_id], HANDED_ON, ANYWHERE)


class DyingSteps(Steps):
    """The pipeline's steps; those that the plans name die."""

    def promote(self, gated: Any, registered: Any) -> str:
        with _planned(self, PROMOTE):
            return super().promote(gated, registered)

    def announce(self, promoted: Any) -> Any:
        with _planned(self, ANNOUNCE):
            return super().announce(promoted)

    def look(self, watch: Any) -> Any:
        with _planned(self, WAIT):
            return super().look(watch)

    def watched(self, event: Any) -> Any:
        with _planned(self, WAIT, begun=RESUMED, done=TAKEN):
            return super().watched(event)

    def _asked(self) -> Asked:
        asked = super()._asked()
        run, number = self.place()
        if _plan(run).get(BUG) == RUN_PER_TRY:
            return asked._replace(request=msgspec.structs.replace(asked.request, run_id=f"{run}#{number}"))
        return asked

    def place(self) -> tuple[str, int]:
        """The run, and which try of the task this is."""
        instance = self._context()["ti"]
        return str(instance.run_id), int(instance.try_number)


def _plan(run: str) -> dict[str, str]:
    plan: dict[str, str] = json.loads(Path(os.environ[PLANS]).read_text()).get(run, {})
    return plan


@contextmanager
def _planned(steps: DyingSteps, task_id: str, *, begun: str = BEGUN, done: str = HANDED_ON) -> Iterator[None]:
    """Carries out the plan of this run's task, in its first try."""
    run, number = steps.place()
    point = _plan(run).get(task_id) if number == 1 else None
    if point in POINTS[task_id]:
        POINTS[task_id][point]()
    elif point == ANYWHERE and begun == BEGUN:
        timer = threading.Timer(random.Random(f"{run}/{task_id}").uniform(0.0, WORK_S), die)
        timer.daemon = True
        timer.start()
    if point == begun:
        die()
    yield
    if point == done:
        die()
