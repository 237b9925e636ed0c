"""Who is told of what, and that nobody who is told changes anything."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from baton_airflow import notify
from baton_airflow.notify import BatonNotifier, alert_of, tell_refused, within
from scoring.contract.alert import Alert, AlertKind
from scoring.contract.errors import ConfigurationError
from training.results import Refused

NOW = datetime(2026, 4, 1, 6, 0, tzinfo=UTC)
TOLD: list[Alert] = []


class Recorder(BaseNotifier):
    """A notifier of somebody else's; ``fail`` makes it raise."""

    def __init__(self, *, fail: bool = False) -> None:
        super().__init__()
        self.fail = fail

    def notify(self, context: Any) -> None:
        if self.fail:
            raise SystemExit("a notifier that ends its process")
        TOLD.append(context[notify.ALERT])


def context(**changes: Any) -> dict[str, Any]:
    with DAG("train_fare", tags={"baton", "model:fare"}, schedule=None) as dag:
        gates = EmptyOperator(task_id="gates")
    return {"dag": dag, "task": gates, "run_id": "scheduled__1", **changes}


def named(monkeypatch: pytest.MonkeyPatch, *arguments: dict[str, Any]) -> list[Alert]:
    """The setting names the recorder so often, each with its arguments; nothing else is set."""
    path = f"{Recorder.__module__}.Recorder"
    setting = [{"notifier": path, "arguments": each} for each in arguments]
    monkeypatch.setenv("BATON_NOTIFIERS", json.dumps(setting))
    TOLD.clear()
    return TOLD


def test_a_failed_task_is_told_with_the_sentence_of_its_error() -> None:
    error = AirflowFailException("the data are refused: distance is negative in 40 rows")
    told = alert_of(AlertKind.TASK_FAILED, context(exception=error), NOW)
    assert told == Alert(
        kind=AlertKind.TASK_FAILED,
        model="fare",
        dag_id="train_fare",
        run_id="scheduled__1",
        task_id="gates",
        sentence="the data are refused: distance is negative in 40 rows",
        at=NOW,
    )


def test_an_error_that_is_not_made_for_people_is_told_by_its_name_alone() -> None:
    error = ValueError("postgresql://baton:secret@warehouse/")
    assert (
        alert_of(AlertKind.TASK_FAILED, context(exception=error), NOW).sentence
        == "ValueError; the task's log says more"
    )
    assert "process ended" in alert_of(AlertKind.TASK_FAILED, context(), NOW).sentence


def test_a_failed_run_is_told_without_a_task_and_with_why() -> None:
    told = alert_of(AlertKind.RUN_FAILED, context(reason="timed_out"), NOW)
    assert (told.task_id, told.sentence) == (None, "it took longer than its limit, and was ended")
    assert "deadlocked" not in alert_of(AlertKind.RUN_FAILED, {"run_id": "r"}, NOW).sentence


def test_a_refusal_reaches_every_notifier_that_the_setting_names(monkeypatch: pytest.MonkeyPatch) -> None:
    told = named(monkeypatch, {}, {"fail": True}, {})
    tell_refused(Refused(refusals=("not-worse",), sentence="auc 0.60 is below", by="ada"), context())
    assert [(alert.kind, alert.refusals, alert.by) for alert in told] == [
        (AlertKind.REFUSED, ("not-worse",), "ada")
    ] * 2


def test_a_notifier_that_is_unknown_or_a_setting_that_is_wrong_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ('[{"notifier": "no.such.Notifier"}]', '[{"notifier": "nothing"}]', "broken"):
        monkeypatch.setenv("BATON_NOTIFIERS", setting)
        BatonNotifier(AlertKind.TASK_FAILED)(context(exception=ConfigurationError("wrong")))


def test_a_context_that_nobody_expected_changes_nothing() -> None:
    BatonNotifier(AlertKind.RUN_FAILED)({"dag": None})
    BatonNotifier(AlertKind.TASK_FAILED).notify(None)


def test_a_notifier_that_does_not_come_back_is_left_behind() -> None:
    back = threading.Event()

    def hang() -> None:
        back.wait(60)

    assert not within("a slow one", hang, limit_s=0.05)
    back.set()
