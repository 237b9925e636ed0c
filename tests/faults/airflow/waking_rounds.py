"""One round: requests, a part of Airflow that is killed at a moment that the seed says, and what must be true after."""

import random
import time
from typing import Any

from tests.faults.airflow.waking import Waking

TRIGGERER, SCHEDULER, TASK = "triggerer", "scheduler", "task"
VICTIMS = (TRIGGERER, SCHEDULER, TASK, TASK)
# From the first request to the end of the run that it starts.
SPAN_S = 25.0
BEFORE, AFTER = 5, 3

Line = dict[str, Any]


def plan_of(number: int, seed: int) -> tuple[str, float]:
    """Who is killed in a round, and how long after the first request."""
    chooser = random.Random(f"waking/{seed}/{number}")
    return chooser.choice(VICTIMS), chooser.uniform(0.0, SPAN_S)


def kill_round(waking: Waking, victim: str, after_s: float) -> Line:
    """Ask, kill, ask again; every request must be in a run that has ended, and nothing half promoted."""
    began_s, before = time.monotonic(), len(waking.begun())
    waking.settle()
    waking.ask(BEFORE, "before")
    time.sleep(after_s)
    killed = _kill(waking, victim)
    waking.ask(AFTER, "after")
    waking.settle()
    runs = waking.begun()[before:]
    covered = sum(run.woken.messages for run in runs if run.woken)
    assert covered >= BEFORE + AFTER, f"{covered} requests were covered by {[run.run_id for run in runs]}"
    assert 1 <= len(runs) <= 3, [run.run_id for run in runs]
    states = {run["dag_run_id"]: run["state"] for run in waking.runs(waking.trains)}
    for run in runs:
        decided = waking.stage.decided(waking.model, run.run_id)
        assert len(decided) == (1 if states[run.run_id] == "success" else len(decided)) <= 1, states
    waking.stage.house.agree(waking.model)
    return {
        "victim": victim,
        "after_s": round(after_s, 1),
        "killed": killed,
        "runs": len(runs),
        "seconds": round(time.monotonic() - began_s, 1),
    }


def _kill(waking: Waking, victim: str) -> int:
    """SIGKILL, by pid; how many processes. What Airflow does not start again by itself is."""
    stack = waking.stage.airflow
    if victim == TASK:
        processes = stack.task_processes()
        for process in processes:
            process.kill()
        return len(processes)
    stack.kill(victim)
    stack.start(victim)
    return 1
