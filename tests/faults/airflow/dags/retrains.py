"""DAGs that start runs for events, with the factory's own, and the runs that they start: they hand a candidate over.

What a run was asked is written into a file; it goes on once nobody holds it.
"""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from airflow.sdk import DAG, get_current_context, task

from baton_airflow.factory import hand_over
from baton_airflow.house import RUN_FAILED, TASK_DEFAULTS
from baton_airflow.request import run_params, run_request
from baton_airflow.retrain import build_retrain_dag
from scoring.contract.errors import ConfigurationError
from tests.faults.airflow.dying import DyingSteps
from tests.faults.airflow.stage import RETRAINS_FOLDER
from tests.faults.airflow.waking import COOL_DOWN, prepared
from tests.support.training import definition

LOOK_AGAIN = timedelta(seconds=2)
QUICKLY: dict[str, Any] = {**TASK_DEFAULTS, "retry_delay": timedelta(0), "retry_exponential_backoff": 0}


def _prepare(model: str) -> Any:
    """Write down what the run was asked, wait while it is held, and register its candidate."""
    context, folder = get_current_context(), Path(os.environ[RETRAINS_FOLDER])
    asked = run_request(definition(name=model), context["dag_run"], context["params"])
    _write_down(folder / "runs" / f"{model}~{asked.run_id}.json", msgspec.json.encode(asked))
    if (folder / f"fail-{model}").exists():
        raise ConfigurationError("the warehouse has no table trips; tell this run another one")
    while (folder / f"hold-{model}").exists():
        time.sleep(0.1)
    return prepared(folder, model, asked.run_id)


def _write_down(path: Path, content: bytes) -> None:
    """Whole or not at all: somebody looks for such files all the while."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


for model in os.environ["BATON_TEST_HAND_OVER"].split(","):
    defined = definition(name=model, cool_down=COOL_DOWN)
    with DAG(
        f"train_{model}",
        schedule=None,
        params=run_params(defined),
        default_args=QUICKLY,
        max_active_runs=1,
        on_failure_callback=RUN_FAILED,
        tags={f"model:{model}"},
        is_paused_upon_creation=False,
    ) as dag:
        made = task(task_id="prepare", multiple_outputs=True)(_prepare)(model)
        hand_over(DyingSteps(defined), made["gated"], made["registered"])  # type: ignore[index]
    globals()[dag.dag_id] = dag
    waking = build_retrain_dag(defined, dag.dag_id, look_again=LOOK_AGAIN)
    for each in waking.tasks:
        each.retry_delay = timedelta(0)
    globals()[waking.dag_id] = waking
