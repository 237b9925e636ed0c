"""One DAG per model definition. ::

    pull [each source] -> assemble -> snapshot -> validate -> train -> evaluate -> gates -> register -> promote
                                                                                                |          |
    repair ------------------------------------------------------------------------------------ | -------- ^ -> refused
                                                                                                keep       |
                                                                           wait_for_workers <- announce <- +

Where the definition asks for a person, ``approve`` stands between ``register`` and ``promote``.

A candidate that is merely not good enough, or that a person turned down, ends the run green at ``refused``; damaged
data, an error inside a gate, a model that was converted wrongly or a worker that refuses it end the run red
(``training.refusals``).
"""

from datetime import timedelta

from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    TriggerRule,
    XComArg,
    task,
)
from airflow.sdk.definitions.param import ParamsDict

from baton_airflow.house import RUN_FAILED, RUN_LIMIT, TAG, TASK_DEFAULTS
from baton_airflow.operators import ApproveOperator, WaitForWorkersOperator, form
from baton_airflow.repair import repair_models
from baton_airflow.request import run_params
from baton_airflow.steps import (
    ANNOUNCE,
    APPROVE,
    ASSEMBLE,
    GATES,
    KEEP,
    PROMOTE,
    PULL,
    REFUSED,
    REGISTER,
    RESULT,
    WAIT,
    Json,
    Steps,
)
from training.definition import Approval, ModelDefinition

_HOW = """
## What a run does
| task | |
|---|---|
| `pull` | reads the rows of the data interval, an instance for each source; what was pulled before is not read again |
| `assemble` | joins them, and looks up for each record what was known at its event; names the sources that failed |
| `snapshot` | keeps them, unchangeable, under the SHA-256 of their content |
| `validate` | holds them against the suite in `expectations/`; red when they do not fit |
| `train` | fits on everything before the holdout and compiles the model |
| `evaluate` | scores the holdout, the latest part of the data, with the candidate and with the champion |
| `gates` | from the data to the bundle's load: each of the ten says why in the log and in the XCom `verdicts` |
| `register` | keeps the evidence of every run, and an accepted candidate as a version in the registry |
| `promote` | inserts the next entry of the ledger: this is the decision |
| `announce` | makes the registry's alias and the Kafka notice equal to the ledger's head |
| `wait_for_workers` | ends when every live worker scores with the new version; a long wait is the triggerer's |
| `keep` | green: a dry run or a backfill, whose candidate is kept and promotes nothing |
| `refused` | green: the candidate was not good enough, or came too late, and the champion stays; its log says why |
| `repair` | first makes alias and notice equal to what the ledger already says |

{approve}Start it by hand with *Trigger*: the form asks for the data, for parameters within the definition's bounds, and
whether it is a dry run. Only one run at a time; a retry of any task is safe. Nothing but `promote` decides.
"""
_ASKS = """A person approves each promotion: `approve` shows the evidence under *Required Actions* and waits for {who},
at most {within}. A rejection, or no answer in time, ends the run green at `refused`. Until then no other run starts.

"""


def build_dag(definition: ModelDefinition) -> DAG:
    """The DAG ``train_<model>``: from the source's rows to a version that the workers score with.

    A DAG file has to give it a name: Airflow does not find it otherwise.
    """
    with DAG(
        dag_id=dag_id(definition.name),
        description=_first_line(definition.description) or f"Trains, judges and promotes {definition.name}",
        doc_md=_documentation(definition),
        schedule=_timetable(definition),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=RUN_LIMIT + (definition.approval.within if definition.approval else timedelta(0)),
        default_args=TASK_DEFAULTS,
        on_failure_callback=RUN_FAILED,
        tags={TAG, f"model:{definition.name}"},
        auto_register=False,
    ) as dag:
        _wire(definition)
    # Only now: Airflow would copy the whole form for each task, half of what reading a definition takes.
    dag.params = ParamsDict(run_params(definition))
    return dag


def dag_id(model: str) -> str:
    """The name of a model's DAG."""
    return f"train_{model}"


def _wire(definition: ModelDefinition) -> None:
    steps = Steps(definition)
    # These two run after a refusal too: every gate judges, and every run leaves its evidence. With nothing before
    # them that succeeded there is nothing to judge, and they fail with their upstream.
    always = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS

    snapshot = task(steps.snapshot)(_pulled(definition, steps))
    validated = task(steps.validate)(snapshot)
    trained = task(steps.train)(snapshot, validated)
    evaluated = task(steps.evaluate)(snapshot, trained)
    gated = task(task_id=GATES, trigger_rule=always)(steps.gates)(validated, evaluated)
    registered = task.branch(task_id=REGISTER, trigger_rule=always)(steps.register)(
        snapshot, validated, trained, evaluated, gated
    )
    promoted, refused = hand_over(steps, gated, _result(registered))
    kept = task(task_id=KEEP)(steps.keep)(_result(registered))
    repaired = task(task_id="repair")(repair_models)([definition.name])

    snapshot >> gated
    repaired >> promoted
    registered >> [refused, kept]
    if definition.approval is not None:
        registered >> _approve(steps, definition.approval, gated, evaluated, registered) >> [promoted, refused]


def _pulled(definition: ModelDefinition, steps: Steps) -> XComArg:
    """One instance for each source, which the UI calls by its name; then what makes records of them all."""
    sources = definition.all_sources
    longest = max(timedelta(seconds=source.timeout_s) for source in sources)
    limit = max(longest, TASK_DEFAULTS["execution_timeout"])
    pull = task(task_id=PULL, map_index_template="{{ task.op_kwargs.source }}", execution_timeout=limit)(steps.pull)
    # It runs after a failure too, to name the source that failed.
    assemble = task(task_id=ASSEMBLE, trigger_rule=TriggerRule.ALL_DONE)(steps.assemble)
    return assemble(pull.expand(source=[source.title for source in sources]))


def hand_over(steps: Steps, gated: Json, registered: Json) -> tuple[XComArg, XComArg]:
    """The tasks from the decision to the workers, in the DAG of the context; returns ``promote`` and ``refused``.

    Args:
        gated, registered: the results of these two steps, or what is rendered to them.
    """
    promoted = task.branch(task_id=PROMOTE)(steps.promote)(gated, registered)
    announced = task(task_id=ANNOUNCE)(steps.announce)(_result(promoted))
    waited = WaitForWorkersOperator(task_id=WAIT, steps=steps, promoted=_result(promoted))
    refused = task(task_id=REFUSED, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)(steps.refuse)()
    announced >> waited
    promoted >> refused
    return promoted, refused


def _approve(
    steps: Steps, approval: Approval, gated: XComArg, evaluated: XComArg, registered: XComArg
) -> ApproveOperator:
    evidence = {"gated": gated, "evaluated": evaluated, "registered": _result(registered)}
    by = tuple(approval.by)
    return ApproveOperator(
        task_id=APPROVE, steps=steps, evidence=evidence, within=approval.within, by=by, params=form(by)
    )


def _result(branching: XComArg) -> XComArg:
    return branching[RESULT]  # type: ignore[index, no-any-return]  # what @task.branch returns can be indexed


def _timetable(definition: ModelDefinition) -> CronDataIntervalTimetable | None:
    return CronDataIntervalTimetable(definition.schedule, timezone="UTC") if definition.schedule else None


def _documentation(definition: ModelDefinition) -> str:
    asks, approval = "", definition.approval
    if approval is not None:
        asks = _ASKS.format(who=", ".join(approval.by) or "anybody who may change runs", within=approval.within)
    return f"{definition.description.strip()}\n{_HOW.format(approve=asks)}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
