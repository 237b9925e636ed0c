"""A real Airflow whose task processes are killed while they promote, and one that asks a person."""

import pytest

from local.demo.airflow import AirflowError
from scoring.contract.alert import AlertKind
from tests.faults.airflow.dying import BUG, HANDED_ON, RUN_PER_TRY
from tests.faults.airflow.rounds import kill_round, plan_of, play
from tests.faults.airflow.stage import Stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800), pytest.mark.filterwarnings("ignore")]

ROUNDS = 4
SEED = 5


def test_a_task_that_is_killed_before_and_behind_its_decision_is_finished_by_its_retry(
    stage: Stage, model: str
) -> None:
    plan = {"promote": "decided", "announce": "produced", "wait_for_workers": "begun"}
    line = play(stage, model, "killed-thrice", plan)
    assert line["killed"] == ["promote", "announce", "wait_for_workers"]
    assert line["agreed_s"] < 30


def test_only_the_user_that_the_definition_names_may_approve_and_the_ledger_names_them(
    stage: Stage, model: str
) -> None:
    dag_id = stage.begin(model, "approved", {}, dag="ask")
    stage.wait_for_state(dag_id, "approved", "approve", "awaiting_input")
    question = stage.question(dag_id, "approved")
    assert question["subject"].startswith("Promote version")
    assert "| quality | pass |" in question["body"]
    with pytest.raises(AirflowError, match="403"):
        stage.answer(dag_id, "approved", "Approve", user="viewer")
    stage.answer(dag_id, "approved", "Approve", reason="seen")
    state, tasks = stage.finish(dag_id, "approved")
    assert state == "success", tasks
    (entry,) = stage.decided(model, "approved")
    assert entry.actor == "admin"
    assert entry.reason == "approved by admin: seen; asked for by admin: a campaign"


def test_a_rejection_and_a_silence_end_green_with_nothing_decided(stage: Stage, model: str) -> None:
    before = stage.house.head(model)
    rejected = stage.begin(model, "rejected", {}, dag="ask")
    stage.wait_for_state(rejected, "rejected", "approve", "awaiting_input")
    stage.answer(rejected, "rejected", "Reject", reason="not on a Friday")
    silent = stage.begin(model, "silent", {}, dag="ask_briefly")
    told = {}
    for dag_id, run_id in ((rejected, "rejected"), (silent, "silent")):
        state, tasks = stage.finish(dag_id, run_id)
        assert state == "success", tasks
        assert (tasks["refused"]["state"], tasks["promote"]["state"]) == ("success", "skipped")
        told[run_id] = stage.client.result(dag_id, run_id, "refused")
    assert told["rejected"] == {
        "refusals": ["rejected"],
        "sentence": "rejected by admin: not on a Friday",
        "by": "admin",
    }
    refusals = {alert.run_id: alert for alert in stage.alerts() if alert.kind is AlertKind.REFUSED}
    assert refusals["rejected"].sentence == "rejected by admin: not on a Friday"
    assert (refusals["rejected"].by, refusals["silent"].refusals) == ("admin", ("unanswered",))
    assert told["silent"] == {"refusals": ["unanswered"], "sentence": "nobody approved it in time", "by": None}
    assert stage.house.head(model) == before


@pytest.mark.faults
@pytest.mark.parametrize("number", range(ROUNDS))
def test_kills_anywhere_leave_one_decision_and_equal_copies(stage: Stage, model: str, number: int) -> None:
    assert kill_round(stage, model, number, SEED)["agreed_s"] < 30


@pytest.mark.faults
def test_a_triggerer_that_dies_in_the_middle_of_the_wait_is_succeeded_by_the_next(stage: Stage, model: str) -> None:
    line = play(stage, model, "without-triggerer", {}, triggerer=True)
    assert (line["killed"], line["triggerer"]) == ([], True)


@pytest.mark.faults
def test_a_retry_that_does_not_know_its_own_decision_is_caught(stage: Stage, model: str) -> None:
    with pytest.raises(AssertionError, match="skipped"):
        play(stage, model, "forgetful", {"promote": "decided", BUG: RUN_PER_TRY})


def test_the_plans_of_a_campaign_reach_every_task_and_depend_on_the_seed_alone() -> None:
    plans = [plan_of(number, SEED) for number in range(60)]
    assert plans == [plan_of(number, SEED) for number in range(60)]
    assert plans != [plan_of(number, SEED + 1) for number in range(60)]
    assert {HANDED_ON, "decided", "anywhere"} <= {plan["promote"] for plan, _ in plans}
    assert {triggerer for _, triggerer in plans} == {True, False}
