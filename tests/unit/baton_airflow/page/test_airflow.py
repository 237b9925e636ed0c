"""Airflow's API, called inside the process."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from baton_airflow.page import again, airflow
from baton_airflow.page.airflow import AirflowApi, AirflowSaid


async def _silent(*_: Any) -> None:
    await asyncio.Event().wait()


def test_an_app_that_never_answers_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "TIMEOUT_S", 0.05)
    with pytest.raises(AirflowSaid, match=r"no answer within 0\.05 s to /dags/train_fare/tasks") as said:
        asyncio.run(asyncio.wait_for(AirflowApi(_silent, "token").tasks("train_fare"), 10))
    assert said.value.status == 503


class Answering:
    """Airflow's app, answering with these statuses in turn, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses
        self.asked = 0

    async def __call__(self, _scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        while (await receive()).get("more_body"):
            pass
        status = self._statuses[min(self.asked, len(self._statuses) - 1)]
        self.asked += 1
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail": "as it is"}'})


def start(app: Answering) -> bool:
    return asyncio.run(AirflowApi(app, "token").start("train_fare", "page__1", {}))


def answer(app: Answering) -> None:
    asyncio.run(AirflowApi(app, "token").answer("train_fare", "page__1", "Approve", "looks right"))


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "EVERY_S", 0.0)


@pytest.mark.usefixtures("no_wait")
def test_what_airflow_fails_at_is_asked_for_again() -> None:
    started, answered = Answering(500, 503, 200), Answering(500, 200)
    assert start(started)
    answer(answered)
    assert (started.asked, answered.asked) == (3, 2)


@pytest.mark.usefixtures("no_wait")
def test_a_run_that_a_failed_answer_had_started_is_not_started_twice() -> None:
    assert not start(Answering(500, 409))


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_what_airflow_refuses_is_not_asked_for_again(status: int) -> None:
    app = Answering(status, 200)
    with pytest.raises(AirflowSaid, match="as it is"):
        answer(app)
    assert app.asked == 1


@pytest.mark.usefixtures("no_wait")
def test_an_airflow_that_keeps_failing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "FOR_S", 0.2)
    app = Answering(500)
    with pytest.raises(AirflowSaid, match="as it is"):
        start(app)
    assert app.asked > 1
