"""Airflow's API, called inside the process."""

import asyncio
from typing import Any

import pytest

from baton_airflow.page import airflow
from baton_airflow.page.airflow import AirflowApi, AirflowSaid


async def _silent(*_: Any) -> None:
    await asyncio.Event().wait()


def test_an_app_that_never_answers_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "TIMEOUT_S", 0.05)
    with pytest.raises(AirflowSaid, match=r"no answer within 0\.05 s to /dags/train_fare/tasks") as said:
        asyncio.run(asyncio.wait_for(AirflowApi(_silent, "token").tasks("train_fare"), 10))
    assert said.value.status == 503
