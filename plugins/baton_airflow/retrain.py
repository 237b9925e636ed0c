"""The DAG ``retrain_<model>``: from events to runs of ``train_<model>``. ::

    wait -> start -> cover

An event is a wake-up, not a work item: what waits is counted when a run can begin, and all of it goes into that run.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, BaseSensorOperator, DeltaTriggerTimetable, TriggerRule, task
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException

from baton_airflow.bell import bell_of
from baton_airflow.connections import from_airflow
from baton_airflow.house import RUN_FAILED, RUN_LIMIT, TAG, TASK_DEFAULTS
from baton_airflow.request import WOKEN
from scoring.settings import read_settings
from training.definition import ModelDefinition

log = structlog.get_logger(__name__)

Json = Any
WAIT, START, COVER = "wait", "start", "cover"
RUN_ID = "run_id"
# Finds new labels, and whatever no event told of.
SWEEP = timedelta(hours=1)
# While a run goes on; each look is the start of a process.
LOOK_AGAIN = timedelta(seconds=30)
_UNFINISHED = ["queued", "running"]

_HOW = """
Starts a run of `train_{model}` when somebody asks for one by a message on `baton.retrains`, such as by the command
`baton retrain {model}`{labels}.

| task | |
|---|---|
| `wait` | counts what waits, and waits on while a run goes on or the cool-down lasts; skipped without any |
| `start` | starts one run, which covers everything that waited |
| `cover` | marks that as covered; what came meanwhile makes the next run |

The cool-down is {cool_down} from the start of the last run that an event started. Requests that come while a run goes
on make exactly one run after it. What is no valid request is put aside in `baton.retrains.dead-letters`. An hourly look
finds what no event told of.
"""
_LABELS = ", or when {rows:,} labels became known since the champion's data ended"


class WaitOperator(BaseSensorOperator):
    """Ends when a run may start, with what it covers; skipped where nothing waits. Holds no worker slot meanwhile.

    Args:
        trains: id of the DAG whose runs it starts.
        look_again: how often it looks while a run goes on.
    """

    def __init__(
        self, *, definition: ModelDefinition, trains: str, look_again: timedelta = LOOK_AGAIN, **kwargs: Any
    ) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self._definition = definition
        self._trains = trains
        self._look_again = look_again

    def execute(self, context: Any) -> Json:
        """Look once; come back later where a run has to wait."""
        from training.wake import Step  # noqa: PLC0415
        from training.waking import look  # noqa: PLC0415  it loads clients

        now = datetime.now(UTC)
        active = context["ti"].get_dr_count(dag_id=self._trains, states=_UNFINISHED) > 0
        settings = read_settings().looking_further(from_airflow)
        found = look(self._definition, settings, active=active, now=now)
        if found.step is Step.NOTHING:
            raise AirflowSkipException("nothing asks for a run")
        if found.start is None:
            log.info("waiting", sentence=found.sentence)
            again_at = found.again_at or now + self._look_again
            raise AirflowRescheduleException(again_at)  # type: ignore[no-untyped-call]
        for key in (RUN_ID, WOKEN):
            context["ti"].xcom_push(key, found.start[key])
        return found.start


def build_retrain_dag(definition: ModelDefinition, trains: str, *, look_again: timedelta = LOOK_AGAIN) -> DAG:
    """The DAG ``retrain_<model>``, woken by messages and by the hour.

    Args:
        trains: id of the DAG whose runs it starts.
    """
    approval = definition.approval.within if definition.approval else timedelta(0)
    with DAG(
        dag_id=retrain_dag_id(definition.name),
        description=f"Starts runs of {trains} when messages or new labels ask for them",
        doc_md=_documentation(definition),
        schedule=AssetOrTimeSchedule(timetable=DeltaTriggerTimetable(SWEEP), assets=[bell_of(definition.name)]),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=RUN_LIMIT + approval + definition.cool_down,
        is_paused_upon_creation=False,
        default_args=TASK_DEFAULTS,
        on_failure_callback=RUN_FAILED,
        tags={TAG, f"model:{definition.name}"},
        auto_register=False,
    ) as dag:
        waited = WaitOperator(task_id=WAIT, definition=definition, trains=trains, look_again=look_again)
        started = _start(trains, waited)
        # Also where the run was there already: an earlier try had started it. Not where nothing waited.
        rule = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
        covered = task(task_id=COVER, trigger_rule=rule)(_cover)(definition.name, waited.output)
        waited >> started >> covered
    return dag


def retrain_dag_id(model: str) -> str:
    """The name of the DAG that starts a model's runs for events."""
    return f"retrain_{model}"


def _start(trains: str, waited: WaitOperator) -> TriggerDagRunOperator:
    """Starts the run once, whatever is tried again: its id comes from what it covers."""
    return TriggerDagRunOperator(
        task_id=START,
        trigger_dag_id=trains,
        trigger_run_id=_handed_on(waited, RUN_ID),
        conf={WOKEN: _handed_on(waited, WOKEN)},
        logical_date=None,
        skip_when_already_exists=True,
    )


def _handed_on(waited: WaitOperator, key: str) -> Any:
    return waited.output[key]  # type: ignore[index]  # an operator's output can be indexed


def _cover(model: str, start: Json) -> None:
    """Mark what the run covers as covered."""
    from training.waking import cover  # noqa: PLC0415  it loads clients

    cover(model, read_settings(), start)


def _documentation(definition: ModelDefinition) -> str:
    labels = _LABELS.format(rows=definition.retrain_on.rows) if definition.retrain_on else ""
    return _HOW.format(model=definition.name, labels=labels, cool_down=definition.cool_down)
