"""The trigger: what Airflow keeps of it, its one event, and that it lets go when it is cancelled."""

import asyncio
import json
import threading
from typing import Any

import pytest

from baton_airflow import triggers
from baton_airflow.triggers import WorkersTrigger
from scoring.contract.errors import BatonError, ConfigurationError, Unavailable
from tests.unit.training.test_watch import WATCH
from training import watch
from training.results import Waited, to_json

DONE = Waited(state="converged", green=True, sentence="every worker is live")


class Fake:
    """Stands in for the watcher: waits once, then has its result."""

    def __init__(self, result: Waited | Exception) -> None:
        self.result = result
        self.stepped = threading.Event()
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self.threads: set[str] = set()
        self.steps = 0

    def __call__(self, asked: watch.Watch) -> "Fake":
        assert asked == WATCH
        return self

    def step(self) -> Waited | None:
        self.threads.add(threading.current_thread().name)
        self.stepped.set()
        self.go_on.wait(10)
        self.steps += 1
        if self.steps == 1:
            return None
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def close(self) -> None:
        assert self.go_on.is_set(), "closed while a step was under way"
        self.threads.add(threading.current_thread().name)
        self.closed.set()


def replaced(monkeypatch: pytest.MonkeyPatch, result: Waited | Exception) -> Fake:
    fake = Fake(result)
    monkeypatch.setattr(triggers, "NOT_BEFORE_S", 0.0)
    monkeypatch.setattr(watch, "Watcher", fake)
    return fake


def trigger() -> WorkersTrigger:
    """As the triggerer makes it: from what the database holds."""
    path, arguments = WorkersTrigger(to_json(WATCH)).serialize()
    assert path == "baton_airflow.triggers.WorkersTrigger"
    return WorkersTrigger(**json.loads(json.dumps(arguments)))


async def first_event() -> Any:
    async for event in trigger().run():
        return event.payload
    raise AssertionError("it ended without an event")


def test_it_fires_one_event_with_what_became_of_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = replaced(monkeypatch, DONE)
    fake.go_on.set()
    assert asyncio.run(first_event()) == {"waited": to_json(DONE)}
    assert fake.closed.wait(10)
    assert fake.steps == 2
    assert len(fake.threads) == 1
    assert threading.current_thread().name not in fake.threads


def test_it_does_not_fire_before_the_scheduler_can_have_heard_that_the_task_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = replaced(monkeypatch, DONE)
    fake.go_on.set()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(triggers, "NOT_BEFORE_S", 3.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert asyncio.run(first_event()) == {"waited": to_json(DONE)}
    assert slept == [3.0]


@pytest.mark.parametrize(("error", "again"), [(Unavailable("away"), True), (ConfigurationError("no topic"), False)])
def test_a_wait_that_cannot_be_watched_says_whether_a_retry_may_help(
    monkeypatch: pytest.MonkeyPatch, error: BatonError, again: bool
) -> None:
    fake = replaced(monkeypatch, error)
    fake.go_on.set()
    assert asyncio.run(first_event()) == {"error": str(error), "again": again}
    assert fake.closed.wait(10)


def test_an_error_that_nobody_expected_is_the_triggerers_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = replaced(monkeypatch, ZeroDivisionError("a bug"))
    fake.go_on.set()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(first_event())
    assert fake.closed.wait(10)


def test_a_trigger_that_is_cancelled_lets_go_once_its_step_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = replaced(monkeypatch, DONE)

    async def cancelled() -> None:
        running = asyncio.create_task(first_event())
        while not fake.stepped.is_set():  # noqa: ASYNC110  set by another thread
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not fake.closed.is_set()
        fake.go_on.set()

    asyncio.run(cancelled())
    assert fake.closed.wait(10)
