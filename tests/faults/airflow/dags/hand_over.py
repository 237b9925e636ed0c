"""DAGs that hand a candidate over with the factory's own tasks, from the decision to the workers.

The candidate is registered already; the run's form names it. A task kills its process where the plan says so.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from baton_airflow.factory import hand_over
from baton_airflow.house import TASK_DEFAULTS
from baton_airflow.operators import FORM, ApproveOperator
from baton_airflow.request import run_params
from baton_airflow.steps import APPROVE
from tests.faults.airflow.dying import DyingSteps
from tests.support.training import definition
from training.definition import Approval

GATED = "{{ dag_run.conf['gated'] }}"
REGISTERED = "{{ dag_run.conf['registered'] }}"
QUICKLY: dict[str, Any] = {**TASK_DEFAULTS, "retry_delay": timedelta(0), "retry_exponential_backoff": 0}
# How long each of the DAGs that ask waits for the answer.
WITHIN = {"ask": timedelta(minutes=10), "ask_briefly": timedelta(seconds=2)}


def _dag(dag_id: str, model: str) -> DAG:
    return DAG(
        dag_id,
        schedule=None,
        params=run_params(definition(name=model)),
        default_args=QUICKLY,
        render_template_as_native_obj=True,
        is_paused_upon_creation=False,
    )


def _approve(steps: DyingSteps, approval: Approval) -> ApproveOperator:
    return ApproveOperator(
        task_id=APPROVE,
        steps=steps,
        evidence={"gated": GATED, "evaluated": None, "registered": REGISTERED},
        within=approval.within,
        by=approval.by,
        params=FORM,
    )


for model in os.environ["BATON_TEST_HAND_OVER"].split(","):
    with _dag(f"hand_over_{model}", model) as dag:
        hand_over(DyingSteps(definition(name=model)), GATED, REGISTERED)
    globals()[dag.dag_id] = dag

    for name, within in WITHIN.items():
        asking = Approval(within=within, by=["admin"])
        with _dag(f"{name}_{model}", model) as dag:
            asked = DyingSteps(definition(name=model, approval=asking))
            _approve(asked, asking) >> [*hand_over(asked, GATED, REGISTERED)]
        globals()[dag.dag_id] = dag
