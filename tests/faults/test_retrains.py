"""Runs that events start, in a real Airflow on a real broker: bursts, messages that must not be believed, and kills."""

import pytest

from scoring.contract.alert import Alert, AlertKind
from tests.faults.airflow.stage import Stage
from tests.faults.airflow.waking import WITHIN_S, Waking
from tests.faults.airflow.waking_rounds import SCHEDULER, TASK, TRIGGERER, kill_round, plan_of
from tests.support.arena import wait_until
from tests.support.retrains import BAD_REASONS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800), pytest.mark.filterwarnings("ignore")]

ROUNDS = 4
SEED = 1


@pytest.fixture
def waking(stage: Stage, model: str) -> Waking:
    made = Waking(stage, model)
    made.settle()
    return made


def test_a_burst_of_200_requests_during_a_run_makes_exactly_one_run_that_covers_them_all(waking: Waking) -> None:
    before = len(waking.begun())
    with waking.held():
        waking.ask(1, "the first")
        waking.wait_for_begun(before + 1)
        waking.ask(120, "many")
        waking.ask(80, "more")
        waking.wait_for_start_to_wait()
        assert len(waking.begun()) == before + 1
    waking.settle()
    first, second = waking.begun()[before:]
    assert first.woken is not None
    assert (first.woken.messages, first.actor, first.reason) == (1, "ada", "asked for by a message: the first")
    assert second.woken is not None
    assert (second.woken.messages, second.reason) == (200, "asked for by 200 messages: more; many")
    assert (second.requested_at - first.requested_at).total_seconds() >= 6
    assert waking.pending().asked == ()


def test_a_thousand_malformed_messages_are_put_aside_and_a_good_one_behind_them_still_starts_a_run(
    waking: Waking,
) -> None:
    before, aside = len(waking.begun()), len(waking.put_aside())
    waking.ask_badly(1_000)
    waking.ask(1, "behind them")
    waking.wait_for_begun(before + 1)
    waking.settle()

    def offsets() -> set[str]:
        return {letter["offset"] for letter in waking.put_aside()[aside:]}

    # Airflow's database may have the event before the topic has the letters: only both let the listener go on.
    wait_until(lambda: len(offsets()) == 1_000, WITHIN_S, "not all of them were put aside")
    letters = waking.put_aside()[aside:]
    assert {letter["reason"] for letter in letters} == BAD_REASONS
    (run,) = waking.begun()[before:]
    assert run.reason == "asked for by a message: behind them"


def test_a_run_that_fails_has_covered_its_requests_and_is_told_with_its_reason(waking: Waking) -> None:
    before = len(waking.begun())
    with waking.failing():
        waking.ask(2, "doomed")
        waking.wait_for_begun(before + 1)
        waking.settle()
    (run,) = waking.begun()[before:]

    def told() -> dict[AlertKind, Alert]:
        return {alert.kind: alert for alert in waking.stage.alerts() if alert.run_id == run.run_id}

    wait_until(lambda: len(told()) == 2, WITHIN_S, "not both alerts came")
    task, whole = told()[AlertKind.TASK_FAILED], told()[AlertKind.RUN_FAILED]
    assert (task.model, task.task_id) == (waking.model, "prepare")
    assert task.sentence == "the warehouse has no table trips; tell this run another one"
    assert (whole.model, whole.task_id) == (waking.model, None)
    assert waking.stage.decided(waking.model, run.run_id) == []


@pytest.mark.faults
def test_a_triggerer_and_a_task_that_are_killed_lose_no_request_and_promote_nothing_by_half(waking: Waking) -> None:
    assert kill_round(waking, TRIGGERER, after_s=0.0)["runs"] >= 1
    assert kill_round(waking, TASK, after_s=12.0)["runs"] >= 1


@pytest.mark.faults
def test_a_scheduler_that_is_killed_with_its_tasks_goes_on_where_it_was(waking: Waking) -> None:
    assert kill_round(waking, SCHEDULER, after_s=8.0)["killed"] == 1


@pytest.mark.faults
@pytest.mark.parametrize("number", range(ROUNDS))
def test_kills_at_any_moment_lose_no_request(waking: Waking, number: int) -> None:
    kill_round(waking, *plan_of(number, SEED))


def test_the_rounds_depend_on_the_seed_alone_and_reach_every_part() -> None:
    plans = [plan_of(number, SEED) for number in range(60)]
    assert plans == [plan_of(number, SEED) for number in range(60)]
    assert {victim for victim, _ in plans[:ROUNDS]} == {TRIGGERER, SCHEDULER, TASK}
