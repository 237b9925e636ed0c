"""Where Airflow hands candidates over: a theatre of the promotion campaign, and a real Airflow beside it."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from baton_airflow.seals import Seals
from baton_airflow.steps import APPROVE, GATES, REGISTER
from scoring.contract.alert import Alert, unseal_alert
from scoring.contract.clock import rfc3339
from scoring.contract.topics import ALERTS
from scoring.kafka import Tail, headers_of
from scoring.promotion.entry import LedgerEntry
from tests.faults.airflow.dying import PLANS
from tests.faults.promotion.theatre import Theatre, theatre
from tests.support.airflow_home import PROJECT
from tests.support.airflow_stack import AirflowStack, airflow_stack
from tests.support.decisions import JANUARY, PASSED
from training.results import Gated, Registered

RUN_LIMIT_S = 600.0
RETRAINS_FOLDER = "BATON_TEST_RETRAINS"
# It schedules, as the laptop's stack does not, and a scheduler or a task that is gone is noticed within a minute.
WATCHFUL = {
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
}
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed"})

DAGS = ("hand_over", "ask", "ask_briefly", "train", "retrain")

Plan = Mapping[str, str]


class Stage:
    """The theatre, Airflow, the file of plans by which tasks die, and what runs that events start write down."""

    def __init__(self, house: Theatre, airflow: AirflowStack, plans: Path, retrains: Path) -> None:
        self.house = house
        self.airflow = airflow
        self.client = airflow.client()
        self.retrains = retrains
        self._plans = plans

    def begin(self, model: str, run_id: str, plan: Plan, *, dag: str = "hand_over") -> str:
        """Register a candidate and start a run that hands it over; returns the DAG's id."""
        self._arrange(run_id, plan)
        version, digest = self.house.register(model)
        gated = Gated(verdicts=PASSED, sentence="accepted", red=False, parent=self.house.head(model))
        registered = Registered(version=version, manifest_digest=digest, bundle=None, registry_run=None)
        seals = Seals(self.house.keyring, model, run_id)
        judged = seals.give(GATES, gated)
        conf = {
            "start": rfc3339(JANUARY - timedelta(days=90)),
            "end": rfc3339(JANUARY + timedelta(days=30)),
            "reason": "a campaign",
            "gated": judged,
            "registered": seals.give(REGISTER, registered, judged),
        }
        dag_id = f"{dag}_{model}"
        self.client.call("POST", f"/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})
        return dag_id

    def finish(self, dag_id: str, run_id: str) -> tuple[str, dict[str, dict[str, Any]]]:
        """Wait for a run's end; returns its state, and its tasks."""
        end = self.client.follow(dag_id, run_id, lambda _: None, limit_s=RUN_LIMIT_S)
        return end.state, self.tasks(dag_id, run_id)

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The tasks of a run, as Airflow's API tells of them."""
        found = self.client.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def wait_for_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Wait until a task is in a state."""
        deadline_s = time.monotonic() + RUN_LIMIT_S
        while (found := self.tasks(dag_id, run_id)[task_id]["state"]) != state:
            assert time.monotonic() < deadline_s, f"{task_id} is {found}, never {state}"
            time.sleep(0.2)

    def question(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """What a run asks a person."""
        found: dict[str, Any] = self.client.call("GET", self._question(dag_id, run_id))
        return found

    def answer(self, dag_id: str, run_id: str, option: str, *, reason: str | None = None, user: str = "admin") -> None:
        """Answer it, as the page *Required Actions* does for the user who is logged in.

        An answer within the moment in which the scheduler has not yet heard that the task pauses is lost: Airflow 3.3
        takes the task for failed and asks once more. A person is slower, and would answer again, as is done here.
        """
        said = {"chosen_options": [option], "params_input": {"reason": reason}}
        deadline_s = time.monotonic() + RUN_LIMIT_S
        task = self.tasks(dag_id, run_id)[APPROVE]
        while task["state"] not in ENDED:
            asked = task["try_number"]
            self.airflow.client(user).call("PATCH", self._question(dag_id, run_id), said)
            while task["state"] not in ENDED and task["try_number"] == asked:
                assert time.monotonic() < deadline_s, f"{APPROVE} is still {task['state']}"
                time.sleep(0.2)
                task = self._settled(dag_id, run_id, deadline_s)

    def _settled(self, dag_id: str, run_id: str, deadline_s: float) -> dict[str, Any]:
        """The task that asks, once it waits for an answer or has ended."""
        while (task := self.tasks(dag_id, run_id)[APPROVE])["state"] not in {*ENDED, "awaiting_input"}:
            assert time.monotonic() < deadline_s, f"{APPROVE} is still {task['state']}"
            time.sleep(0.2)
        return task

    def _question(self, dag_id: str, run_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{APPROVE}/-1/hitlDetails"

    def decided(self, model: str, run_id: str) -> list[LedgerEntry]:
        """What a run entered into the ledger."""
        return [entry for entry in self.house.ledger.entries(model) if entry.run_id == run_id]

    def alerts(self) -> list[Alert]:
        """Everything that was told so far."""
        with Tail(self.house.kafka, {ALERTS: None}) as tail:
            return [
                unseal_alert(message.key(), message.value(), headers_of(message), self.house.keyring)
                for message in tail.to_end()
            ]

    def _arrange(self, run_id: str, plan: Plan) -> None:
        plans = json.loads(self._plans.read_text())
        temporary = self._plans.with_suffix(".new")
        temporary.write_text(json.dumps({**plans, run_id: dict(plan)}))
        temporary.replace(self._plans)


@contextmanager
def airflow_stage(folder: Path, *, database: str, lanes: int) -> Iterator[Stage]:
    """Open one; everything that it started has ended when it is left."""
    plans = folder / "plans.json"
    plans.write_text("{}")
    retrains = folder / "retrains"
    (retrains / "runs").mkdir(parents=True)
    with theatre(folder, database=database, registry="folder", workers="simulated", lanes=lanes) as house:
        variables = {
            **house.environment,
            **WATCHFUL,
            PLANS: str(plans),
            RETRAINS_FOLDER: str(retrains),
            "BATON_TEST_HAND_OVER": ",".join(house.models),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "tests" / "faults" / "airflow" / "dags"),
        }
        with airflow_stack(folder / "airflow", variables) as airflow:
            stage = Stage(house, airflow, plans, retrains)
            _wait_for_dags(stage)
            yield stage


def _wait_for_dags(stage: Stage) -> None:
    deadline_s = time.monotonic() + RUN_LIMIT_S
    wanted = {f"{dag}_{model}" for dag in DAGS for model in stage.house.models}
    while not wanted <= (found := {dag["dag_id"] for dag in stage.client.call("GET", "/dags")["dags"]}):
        errors = stage.client.call("GET", "/importErrors")["import_errors"]
        assert not errors, errors
        assert time.monotonic() < deadline_s, f"Airflow has read {found} only"
        time.sleep(0.5)
