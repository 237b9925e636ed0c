"""The task that waits for events, without the events."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from baton_airflow.listening import GROUP
from baton_airflow.retrain import WaitOperator
from scoring.contract.notice import ModelName
from scoring.settings import Settings
from tests.support.training import definition
from training import waking
from training.definition import ModelDefinition, NewLabels
from training.requests import group_of
from training.wake import Step
from training.waking import Found


def test_new_labels_are_counted_where_airflows_own_connections_lead_to(monkeypatch: pytest.MonkeyPatch) -> None:
    led: list[str] = []

    def look(of: ModelDefinition, settings: Settings, *, active: bool, now: datetime) -> Found:
        assert of.source is not None
        assert (active, now.tzinfo is not None) == (False, True)
        led.append(settings.need_connection(of.source.connection))
        return Found(step=Step.NOTHING)

    monkeypatch.setattr(waking, "look", look)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "sqlite", "host": "/trips.db"}')
    asking = definition(retrain_on=NewLabels(rows=1))
    wait = WaitOperator(task_id="wait", definition=asking, trains="train_fare", look_again=timedelta(seconds=1))
    context: dict[str, Any] = {"ti": SimpleNamespace(get_dr_count=lambda **_: 0)}
    with pytest.raises(AirflowSkipException, match="nothing asks for a run"):
        wait.execute(context)
    assert led == ["sqlite:////trips.db"]


def test_the_listener_shares_its_group_with_no_model() -> None:
    prefix = group_of("")
    assert GROUP.startswith(prefix)  # so that the right that is documented for all of them covers it
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(GROUP.removeprefix(prefix), ModelName)
