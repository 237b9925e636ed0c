"""One DAG per model definition. ::

    pull -> snapshot -> validate -> train -> evaluate -> gates -> register -> promote -> announce -> wait_for_workers
                                                             |          |
    repair ------------------------------------------------- | -------- ^ -> refused

A candidate that is merely not good enough ends the run green at ``refused``; damaged data, an error inside a gate, a
model that was converted wrongly or a worker that refuses it end the run red.
"""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    TriggerRule,
    XComArg,
    task,
)

from baton_airflow.house import TAG, TASK_DEFAULTS
from baton_airflow.repair import repair_models
from baton_airflow.request import run_params
from baton_airflow.steps import ANNOUNCE, PROMOTE, REFUSED, RESULT, Steps
from training.definition import ModelDefinition

_HOW = """
## What a run does
| task | |
|---|---|
| `pull` | reads the rows of the data interval, and what is looked up for each as it was known at its event |
| `snapshot` | keeps them, unchangeable, under the SHA-256 of their content |
| `validate` | holds them against the suite in `expectations/`; red when they do not fit |
| `train` | fits on everything before the holdout and compiles the model |
| `evaluate` | scores the holdout, the latest part of the data, with the candidate and with the champion |
| `gates` | data, parity, minimum quality, not worse: each says why in the log and in the XCom `verdicts` |
| `register` | keeps the evidence of every run, and an accepted candidate as a version in the registry |
| `promote` | inserts the next entry of the ledger: this is the decision |
| `announce` | makes the registry's alias and the Kafka notice equal to the ledger's head |
| `wait_for_workers` | ends when every live worker scores with the new version |
| `refused` | green: the candidate was not good enough and the champion stays |
| `repair` | first makes alias and notice equal to what the ledger already says |

Start it by hand with *Trigger*: the form asks for the data interval. Only one run at a time; a retry of any task is
safe. Nothing but `promote` decides.
"""


def build_dag(definition: ModelDefinition) -> DAG:
    """The DAG ``train_<model>``: from the source's rows to a version that the workers score with."""
    with DAG(
        dag_id=dag_id(definition.name),
        description=_first_line(definition.description) or f"Trains, judges and promotes {definition.name}",
        doc_md=f"{definition.description.strip()}\n{_HOW}",
        schedule=_timetable(definition),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=6),
        params=run_params(),
        default_args=TASK_DEFAULTS,
        tags={TAG, f"model:{definition.name}"},
    ) as dag:
        _wire(definition)
    return dag


def dag_id(model: str) -> str:
    """The name of a model's DAG."""
    return f"train_{model}"


def _wire(definition: ModelDefinition) -> None:
    steps = Steps(definition)
    # These two run after a refusal too: every gate judges, and every run leaves its evidence. With nothing before
    # them that succeeded there is nothing to judge, and they fail with their upstream.
    always = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS

    pulled = task(steps.pull)()
    snapshot = task(steps.snapshot)(pulled)
    validated = task(steps.validate)(snapshot)
    trained = task(steps.train)(snapshot, validated)
    evaluated = task(steps.evaluate)(snapshot, trained)
    gated = task(trigger_rule=always)(steps.gates)(validated, evaluated)
    registered = task.branch(trigger_rule=always)(steps.register)(snapshot, trained, evaluated, gated)
    promoted = task.branch(task_id=PROMOTE)(steps.promote)(gated, _result(registered))
    announced = task(task_id=ANNOUNCE)(steps.announce)(_result(promoted))
    waited = task(retries=1)(steps.wait_for_workers)(_result(promoted))
    refused = EmptyOperator(task_id=REFUSED, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    repaired = task(task_id="repair")(repair_models)([definition.name])

    snapshot >> gated
    repaired >> promoted
    [registered, promoted] >> refused
    announced >> waited


def _result(branching: XComArg) -> XComArg:
    return branching[RESULT]  # type: ignore[index, no-any-return]  # what @task.branch returns can be indexed


def _timetable(definition: ModelDefinition) -> CronDataIntervalTimetable | None:
    return CronDataIntervalTimetable(definition.schedule, timezone="UTC") if definition.schedule else None


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
