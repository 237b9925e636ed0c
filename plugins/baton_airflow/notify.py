"""Tells of failures and refusals: by a message on ``baton.alerts`` always, and by the notifiers that a setting names.

Whoever is told is told after the fact: a notifier that fails, or does not come back, changes nothing about the run.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any
from uuid import uuid4

import structlog
from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowException

from scoring.contract.alert import Alert, AlertKind, seal_alert
from scoring.contract.errors import BatonError, sentence
from scoring.contract.topics import ALERTS
from scoring.settings import NotifierSetting, read_settings
from training.results import Refused

log = structlog.get_logger(__name__)

# What one way of telling may take; together they are far below a task's limit.
LIMIT_S = 15.0
MODEL_TAG = "model:"
ALERT = "alert"
"""Key under which a notifier finds the alert in its context."""


class BatonNotifier(BaseNotifier):
    """Airflow's callback for a task, or a run, that failed."""

    def __init__(self, kind: AlertKind) -> None:
        super().__init__()
        self.kind = kind

    def __call__(self, *args: Any) -> None:
        """Airflow calls it with a context; it has no templates that could fail."""
        self.notify(args[0])

    def notify(self, context: Any) -> None:
        """Tell of it; never raises."""
        try:
            alert = alert_of(self.kind, context, datetime.now(UTC))
        except Exception as error:
            log.exception("alert.lost", error=str(error))
            return
        tell(alert, context)


def tell_refused(refused: Refused, context: Any) -> None:
    """Tell that a run promoted nothing; never raises."""
    alert = _alert(AlertKind.REFUSED, context, datetime.now(UTC), refused.sentence, refused.refusals, refused.by)
    tell(alert, context)


def alert_of(kind: AlertKind, context: Any, now: datetime) -> Alert:
    """What Airflow's context of a callback says."""
    told = _of_task(context.get("exception")) if kind is AlertKind.TASK_FAILED else _of_run(context.get("reason"))
    return _alert(kind, context, now, told)


def tell(alert: Alert, context: Any) -> None:
    """Tell by every way there is, each within its time; never raises."""
    within("Kafka", partial(_send, alert))
    try:
        notifiers = read_settings().notifiers
    except BatonError as error:
        log.warning("alert.lost", by="BATON_NOTIFIERS", error=str(error))
        return
    for notifier in notifiers:
        within(notifier.notifier, partial(_call, notifier, alert, context))


def within(who: str, call: Callable[[], None], limit_s: float = LIMIT_S) -> bool:
    """Make the call in a thread that nothing waits for any longer; whether it was done in time."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # whatever somebody else's notifier raises
            failed.append(error)

    thread = threading.Thread(target=run, name="baton-notify", daemon=True)
    thread.start()
    thread.join(limit_s)
    if failed:
        log.warning("alert.lost", by=who, error=sentence(f"{type(failed[0]).__name__}: {failed[0]}"))
    elif thread.is_alive():
        log.warning("alert.lost", by=who, error=f"not done within {limit_s:.0f} s")
    return not failed and not thread.is_alive()


def _send(alert: Alert) -> None:
    from scoring.produce import Outgoing, deliver  # noqa: PLC0415  it loads the Kafka client

    settings = read_settings()
    keyring = settings.need_keyring()
    sealed = seal_alert(alert, source="baton/airflow", event_id=str(uuid4()), time=alert.at, keyring=keyring)
    deliver(settings.need_kafka(), ALERTS, [Outgoing.of(sealed)], timeout_s=LIMIT_S - 5)


def _call(setting: NotifierSetting, alert: Alert, context: Any) -> None:
    """Make the notifier as the setting says, and let Airflow fill in its templates."""
    module, _, name = setting.notifier.rpartition(".")
    kind = getattr(import_module(module), name)
    kind(**setting.arguments)({**context, ALERT: alert})


def _alert(
    kind: AlertKind,
    context: Any,
    now: datetime,
    told: str,
    refusals: tuple[str, ...] = (),
    by: str | None = None,
) -> Alert:
    dag, task = context.get("dag"), context.get("task")
    run = context.get("run_id") or getattr(context.get("dag_run"), "run_id", None)
    return Alert(
        kind=kind,
        model=_model(dag),
        dag_id=str(getattr(dag, "dag_id", "unknown")),
        run_id=str(run or "unknown"),
        task_id=None if kind is AlertKind.RUN_FAILED or task is None else str(task.task_id),
        sentence=sentence(told),
        refusals=refusals,
        by=by,
        at=now,
    )


def _model(dag: Any) -> str | None:
    tags = [tag.removeprefix(MODEL_TAG) for tag in getattr(dag, "tags", ()) if tag.startswith(MODEL_TAG)]
    return tags[0] if tags else None


def _of_task(error: Any) -> str:
    """What a task failed of. Errors of Baton and Airflow are made for people; others could hold anything."""
    if isinstance(error, BatonError | AirflowException):
        return str(error) or type(error).__name__
    if isinstance(error, BaseException):
        return f"{type(error).__name__}; the task's log says more"
    return str(error) if error else "its process ended; the task's log says more"


def _of_run(reason: Any) -> str:
    return {
        "task_failure": "a task failed; its own alert, or the run's first red task, says why",
        "timed_out": "it took longer than its limit, and was ended",
        "all_tasks_deadlocked": "no task of it could go on",
    }.get(str(reason), f"Airflow says: {reason}")
