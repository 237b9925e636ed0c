"""What the buttons make of a form, with a small app in the place of Airflow's."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI, HTTPException, Request

from baton_airflow.page.airflow import AirflowApi, AirflowSaid
from baton_airflow.page.view import shown_of
from scoring.contract.errors import ConfigurationError

# Airflow's API server warns of things that nobody here can mend, when it is first loaded.
pytestmark = pytest.mark.filterwarnings("ignore", r"error::Warning:(baton_airflow|scoring)(\..*)?")
DAG = "/api/v2/dags/train_fare"
ASKED = {
    "task_instance": {"dag_run_id": "r1", "dag_id": "train_fare"},
    "subject": "Promote version 3 of fare?",
    "body": "evidence",
    "created_at": "2026-01-04T00:00:00Z",
}


class Airflow:
    """Answers what the buttons ask for, and keeps what they do.

    Attributes:
        question: the one that waits.
        answers: what was answered.
        runs: their reasons, by id.
    """

    def __init__(self) -> None:
        self.question: dict[str, Any] | None = ASKED
        self.answers: list[Any] = []
        self.runs: dict[str, str] = {}
        self.app = FastAPI()
        self.app.get(f"{DAG}/details")(self._details)
        self.app.post(f"{DAG}/dagRuns")(self._start)
        self.app.get(f"{DAG}/dagRuns/~/hitlDetails")(self._questions)
        self.app.patch(f"{DAG}/dagRuns/{{run}}/taskInstances/approve/-1/hitlDetails")(self._answer)

    async def _details(self) -> Any:
        return {"dag_id": "train_fare", "params": {"reason": {"schema": {"type": ["null", "string"]}}}}

    async def _start(self, request: Request) -> Any:
        asked = await request.json()
        if asked["dag_run_id"] in self.runs:
            raise HTTPException(409, "Unique constraint violation")
        self.runs[asked["dag_run_id"]] = asked["conf"]["reason"]
        return asked

    async def _questions(self) -> Any:
        return {"hitl_details": [self.question] if self.question else []}

    async def _answer(self, request: Request) -> Any:
        self.answers.append((await request.json())["chosen_options"])
        return {}


def pressed(airflow: Airflow, button: str, model: str = "fare", **form: str) -> Any:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    from baton_airflow.page.buttons import Button, Press, press

    ada = SimpleAuthManagerUser(username="ada", role="admin")
    filled = {"reason": "because", "decision": str(uuid4()), "head": "1", **form}
    return asyncio.run(press(Button(button), Press(model, ada, AirflowApi(airflow.app, "token"), filled)))


@pytest.mark.parametrize("button", ["approve", "reject"])
def test_the_question_that_was_shown_is_answered(button: str) -> None:
    airflow = Airflow()
    assert pressed(airflow, button, run="r1", shown=shown_of(ASKED)).good
    assert airflow.answers == [[button.capitalize()]]


@pytest.mark.parametrize(
    ("created_s", "started_s", "waited_s"),
    [(1, 2, 9), (1, None, 9), (3, 3, 7), (3_600, 4, 6), (9.5, 60, 0.5), (10, 11, 0), (-3_600, None, 10)],
)
def test_an_answer_waits_until_airflow_knows_that_the_question_was_put(
    monkeypatch: pytest.MonkeyPatch, created_s: float, started_s: float | None, waited_s: float
) -> None:
    waits, airflow, now = list[float](), Airflow(), datetime.now(UTC)

    async def wait(seconds: float) -> None:
        assert airflow.answers == []
        waits.append(seconds)

    def ago(seconds: float) -> str:
        return (now - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    started = {} if started_s is None else {"start_date": ago(started_s)}
    task = {**ASKED["task_instance"], **started}  # type: ignore[dict-item]  # of texts
    airflow.question = {**ASKED, "created_at": ago(created_s), "task_instance": task}
    monkeypatch.setattr(asyncio, "sleep", wait)
    assert pressed(airflow, "approve", run="r1", shown=shown_of(airflow.question)).good
    assert waits == [pytest.approx(waited_s, abs=0.4)]
    assert airflow.answers == [["Approve"]]


def test_an_answer_to_what_the_page_showed_before_counts_for_nothing() -> None:
    airflow, before = Airflow(), shown_of(ASKED)
    airflow.question = {**ASKED, "body": "evidence of another candidate"}
    with pytest.raises(ConfigurationError, match="the run asks another question by now"):
        pressed(airflow, "approve", run="r1", shown=before)
    with pytest.raises(ConfigurationError, match="another question"):
        pressed(airflow, "approve", run="r1")
    airflow.question = None
    with pytest.raises(ConfigurationError, match="run r1 waits for no answer any more"):
        pressed(airflow, "approve", run="r1", shown=before)
    assert airflow.answers == []


def test_a_retrain_that_is_sent_twice_starts_one_run() -> None:
    airflow, decision = Airflow(), str(uuid4())
    first = pressed(airflow, "retrain", decision=decision)
    again = pressed(airflow, "retrain", decision=decision, reason="the same form")
    assert (first.good, again.good) == (True, True)
    assert airflow.runs == {f"page__{decision}": "because"}
    assert "was started by this form already" in again.sentence
    pressed(airflow, "retrain")
    assert len(airflow.runs) == 2


def test_a_retrain_without_the_forms_own_name_starts_nothing() -> None:
    airflow = Airflow()
    with pytest.raises(ConfigurationError, match="the form is incomplete"):
        pressed(airflow, "retrain", decision="once")
    assert airflow.runs == {}


def test_nothing_is_decided_about_a_model_that_this_airflow_does_not_train() -> None:
    with pytest.raises(AirflowSaid, match="Not Found"):
        pressed(Airflow(), "roll-back", model="elsewhere")


def test_a_decision_about_a_model_that_it_trains_is_carried_out_as_far_as_it_can() -> None:
    told = pressed(Airflow(), "roll-back")
    assert not told.good
    assert told.sentence.startswith("Nothing was decided. BATON_LEDGER_URL is not set")
