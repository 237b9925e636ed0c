"""One round: a run whose tasks are killed where the seed says, and everything that must be true after it."""

import random
import time
from typing import Any

from baton_airflow.steps import ANNOUNCE, LOOK_S, PROMOTE, REFUSED, WAIT
from tests.faults.airflow.dying import ANYWHERE, HANDED_ON, RESUMED, TAKEN, points
from tests.faults.airflow.stage import Plan, Stage

KILLED = (PROMOTE, ANNOUNCE, WAIT)
# The rounds in which the triggerer dies in the middle of the wait; the workers take so long then.
TRIGGERER_SHARE = 0.15
# Longer than a task looks by itself, so that the wait is handed over.
HESITATION_S = LOOK_S + 12.0

Line = dict[str, Any]


def plan_of(number: int, seed: int) -> tuple[Plan, bool]:
    """Where the tasks of a round die, and whether the triggerer does."""
    chooser = random.Random(f"airflow/{seed}/{number}")
    plan = {task: chooser.choice(points(task)) for task in KILLED}
    return plan, chooser.random() < TRIGGERER_SHARE


def kill_round(stage: Stage, model: str, number: int, seed: int) -> Line:
    """Hand a candidate over through kills; the retries must finish it, with one decision."""
    plan, triggerer = plan_of(number, seed)
    return play(stage, model, f"kill-{seed}-{number}", plan, triggerer=triggerer)


def play(stage: Stage, model: str, run_id: str, plan: Plan, *, triggerer: bool = False) -> Line:
    """Hand a candidate over while its tasks die as planned."""
    house, began_s, before = stage.house, time.monotonic(), stage.house.head(model)
    long = triggerer or plan.get(WAIT) in {HANDED_ON, RESUMED, TAKEN}
    house.hesitate(model, HESITATION_S if long else 0.0)
    dag_id = stage.begin(model, run_id, plan)
    if triggerer:
        stage.wait_for_state(dag_id, run_id, WAIT, "deferred")
        stage.airflow.kill("triggerer")
        stage.airflow.start("triggerer")
    state, tasks = stage.finish(dag_id, run_id)
    told = {task: tasks[task]["state"] for task in (*KILLED, REFUSED)}
    assert state == "success", f"the run ended {state}: {told}\n{_logs(stage, dag_id, run_id)}"
    assert told == dict.fromkeys(KILLED, "success") | {REFUSED: "skipped"}, told
    agreed_s = house.agree(model)
    killed = [task for task in KILLED if tasks[task]["try_number"] > 1]
    missed = [task for task in KILLED if task not in killed and plan.get(task, ANYWHERE) != ANYWHERE]
    assert not missed, f"{missed} lived on: {plan}"
    (entry,) = stage.decided(model, run_id)
    assert (entry.sequence, house.head(model)) == (before + 1, before + 1)
    waited = stage.client.result(dag_id, run_id, WAIT)
    assert waited is not None
    assert waited["state"] == "converged", waited
    return {
        "plan": dict(plan),
        "killed": killed,
        "handed_over": stage.airflow.was_deferred(dag_id, run_id, WAIT),
        "triggerer": triggerer,
        "agreed_s": round(agreed_s, 2),
        "seconds": round(time.monotonic() - began_s, 1),
    }


def _logs(stage: Stage, dag_id: str, run_id: str) -> str:
    """What the tasks complained of."""
    lines = [line for task in KILLED for line in stage.airflow.task_log(dag_id, run_id, task).splitlines()]
    return "\n".join(line[:1_500] for line in lines if '"level":"error"' in line)
