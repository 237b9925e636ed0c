"""Asking a person: how the run goes on after an approval, a rejection, silence, and answers that must not count."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from baton_airflow.operators import ApproveOperator, form
from baton_airflow.seals import SEAL, Seals
from baton_airflow.steps import GATES, REGISTER, Steps
from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import read_settings
from tests.integration.dags import test_dag_runs as wiring
from training import pipeline, results
from training.definition import Approval, ModelDefinition

pytestmark = pytest.mark.timeout(400)

definition, recorded, run = wiring.definition, wiring.recorded, wiring.run
ADA = {"id": "7", "name": "ada"}
PATIENCE_S = 180.0

Answer = Callable[..., None]


@pytest.fixture
def asking(definition: ModelDefinition) -> ModelDefinition:
    return msgspec.structs.replace(definition, approval=Approval(within=timedelta(hours=2), by=["ada", "bob"]))


@pytest.fixture
def answering() -> Iterator[Answer]:
    """Answers the next question, as Airflow's API does for a person, or its scheduler when the time is over."""
    threads: list[threading.Thread] = []

    def start(option: str | None, user: Mapping[str, str] | None = ADA, reason: str | None = None) -> None:
        thread = threading.Thread(target=_answer, args=(option, user, reason))
        thread.start()
        threads.append(thread)

    yield start
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def _answer(option: str | None, user: Mapping[str, str] | None, reason: str | None) -> None:
    """Until the task has ended: ``dag.test`` notes once more that it waits, over an answer that came before that."""
    from sqlalchemy.exc import OperationalError

    answered, deadline = None, time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OperationalError):  # the run has locked the database; next time
            answered = _answered(option, user, reason) or answered
            if answered is not None and _has_ended(answered):
                return
        time.sleep(0.1)


def _has_ended(instance: UUID) -> bool:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import State

    with create_session() as session:
        found = session.get(TaskInstance, instance)
        return found is None or found.state in State.finished


def _answered(option: str | None, user: Mapping[str, str] | None, reason: str | None) -> UUID | None:
    """The instance of the task that waited, and has its answer now."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        waiting = session.scalar(select(TaskInstance).where(TaskInstance.state == "awaiting_input"))
        if waiting is None:
            return None
        instance: UUID = waiting.id
        detail = session.get(HITLDetail, instance)
        assert detail is not None
        if option is None:
            waiting.trigger_timeout, detail.responded_at = datetime(2000, 1, 1, tzinfo=UTC), None
            session.flush()
            scheduler: Any = SimpleNamespace(log=SimpleNamespace(info=print))
            SchedulerJobRunner.check_awaiting_input_timeouts(scheduler, session=session)
            return instance
        detail.responded_by, detail.responded_at = dict(user or {}), datetime.now(UTC)
        detail.chosen_options, detail.params_input = [option], {"reason": reason}
        session.flush()
        event: Any = TriggerEvent
        handle_event_submit(event(detail.as_resume_event_payload()), task_instance=waiting, session=session)
        return instance


def asked(ended: Any) -> Any:
    """The question, as Airflow keeps it for the page *Required Actions*."""
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.get(HITLDetail, ended.get_task_instance("approve").id)


def test_an_approval_lets_the_run_go_on_and_the_ledger_hears_who_gave_it(
    run: wiring.Run, asking: ModelDefinition, answering: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering("Approve", reason="looks right")
    ended = run(definition=asking)
    assert ended.state == "success"
    assert wiring.states(ended)["refused"] == "skipped"
    answered = ended.get_task_instance("approve").xcom_pull(task_ids="approve", key="result")
    assert answered.pop(SEAL)
    assert answered == {
        "manifest_digest": wiring.DIGEST,
        "approved": True,
        "by": "ada (7)",
        "reason": "looks right",
    }
    question = asked(ended)
    assert question.subject == "Promote version 1 of fare?"
    assert "| data | pass |" in question.body
    assert "| rmse | 1 |" in question.body
    assert {user["id"] for user in question.assignees} == {"ada", "bob"}


def test_a_rejection_ends_green_at_refused_with_the_persons_name_and_reason(
    run: wiring.Run, asking: ModelDefinition, answering: Answer, recorded: list[results.Refused]
) -> None:
    answering("Reject", reason="wait for the audit")
    ended = run({"promote": AssertionError("must not run")}, definition=asking)
    found = wiring.states(ended)
    assert ended.state == "success"
    assert (found["approve"], found["promote"], found["announce"]) == ("success", "skipped", "skipped")
    assert (found["wait_for_workers"], found["refused"]) == ("skipped", "success")
    sentence = "rejected by ada (7): wait for the audit"
    assert wiring.why(ended) == {"refusals": ["rejected"], "sentence": sentence, "by": "ada (7)"}
    assert recorded == [results.Refused(refusals=("rejected",), sentence=sentence, by="ada (7)")]


def test_nobodys_answer_in_time_is_a_refusal(run: wiring.Run, asking: ModelDefinition, answering: Answer) -> None:
    answering(None)
    ended = run({"promote": AssertionError("must not run")}, definition=asking)
    assert ended.state == "success"
    assert wiring.states(ended)["promote"] == "skipped"
    assert wiring.why(ended)["refusals"] == ["unanswered"]


def test_nobody_is_asked_about_a_candidate_that_the_gates_refused(run: wiring.Run, asking: ModelDefinition) -> None:
    refused = results.Gated(verdicts=(wiring.GOOD, wiring.WORSE), sentence="not good enough", red=False, parent=0)
    ended = run({"gates": refused}, definition=asking)
    found = wiring.states(ended)
    assert ended.state == "success"
    assert (found["approve"], found["promote"], found["refused"]) == ("skipped", "skipped", "success")


@pytest.mark.parametrize("red", [False, True])
def test_nobody_is_asked_for_what_the_ledger_refuses_whatever_is_said(
    run: wiring.Run, asking: ModelDefinition, recorded: list[results.Refused], red: bool
) -> None:
    foreseen = results.Promoted(
        model="fare", sequence=None, version="1", refused="older data", refusal="older-interval", red=red
    )
    ended = run({"foresee": foreseen, "promote": AssertionError("must not run")}, definition=asking)
    found = wiring.states(ended)
    if red:
        assert ended.state == "failed"
        assert (found["register"], found["approve"], found["refused"]) == ("failed", *["upstream_failed"] * 2)
    else:
        assert ended.state == "success"
        assert (found["approve"], found["promote"], found["refused"]) == ("skipped", "skipped", "success")
        assert wiring.why(ended)["refusals"] == ["older-interval"]
        assert [refused.sentence for refused in recorded] == ["older data"]


def test_nobody_is_asked_after_a_red_gate_and_the_run_ends_red(run: wiring.Run, asking: ModelDefinition) -> None:
    refused = results.Gated(verdicts=(wiring.DAMAGED,), sentence="refused by data", red=True, parent=0)
    ended = run({"gates": refused}, definition=asking)
    found = wiring.states(ended)
    assert ended.state == "failed"
    assert (found["approve"], found["promote"], found["refused"]) == ("upstream_failed",) * 3


def handed_on(run_id: str) -> tuple[Any, Any]:
    """What ``gates`` and ``register`` of a run hand on where all is well."""
    sound, seals = wiring.sound(), Seals(read_settings().need_keyring(), "fare", run_id)
    gated = seals.give(GATES, sound["gates"])
    return gated, seals.give(REGISTER, sound["register"], gated)


def test_a_question_that_was_marked_a_success_by_hand_hands_no_answer_on_to_the_promotion(
    asking: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def promote(*arguments: Any) -> results.Promoted:
        given.append(arguments[-1])
        return results.Promoted(model="fare", sequence=None, version=None, refused="nobody was asked", red=True)

    monkeypatch.setattr(pipeline, "promote", promote)
    instance = SimpleNamespace(xcom_pull=lambda **_: None, xcom_push=lambda *_: None)
    run = SimpleNamespace(
        run_type="manual",
        run_id="r",
        run_after=wiring.END,
        data_interval_end=wiring.END,
        triggering_user_name="ada",
        conf={},
    )
    steps = Steps(asking, lambda: {"ti": instance, "dag_run": run, "params": {}})
    gated, registered = handed_on("r")
    with pytest.raises(AirflowFailException, match="nobody was asked"):
        steps.promote(gated, registered)
    assert given == [None]


class Told(Steps):
    """Asks what it is told to ask."""

    text = "evidence"

    def question(self, gated: Any = None, evaluated: Any = None, registered: Any = None) -> tuple[str, str]:  # noqa: ARG002
        return "Promote version 1 of fare?", self.text


class Supervisor:
    """Answers a task as its supervisor does: with what Airflow's own route makes of the question."""

    def send(self, msg: Any) -> Any:
        from airflow.api_fastapi.execution_api.datamodels.hitl import HITLDetailRequest
        from airflow.api_fastapi.execution_api.routes.hitl import upsert_hitl_detail
        from airflow.sdk.execution_time.comms import HITLDetailRequestResult
        from airflow.utils.session import create_session

        with create_session() as session:
            kept = upsert_hitl_detail(msg.ti_id, HITLDetailRequest(**msg.model_dump(exclude={"type"})), session)
            session.flush()
            return HITLDetailRequestResult.from_api_response(kept)  # type: ignore[arg-type]


def test_a_run_asks_again_only_what_people_are_still_shown(
    run: wiring.Run, asking: ModelDefinition, answering: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import task_runner

    answering("Reject")
    ended = run({"promote": AssertionError("must not run")}, definition=asking)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    told, shown = Told(asking, lambda: {"dag_run": ended}), asked(ended)
    _, registered = handed_on(ended.run_id)
    evidence = {"registered": registered}
    operator = ApproveOperator(
        task_id="approve", steps=told, evidence=evidence, within=timedelta(hours=1), by=["ada", "bob"], params=form()
    )
    context = {"task_instance": ended.get_task_instance("approve")}
    told.text = shown.body
    with pytest.raises(TaskAwaitingInput) as waiting:
        operator.execute(context)
    assert waiting.value.kwargs == {"shown": wiring.DIGEST}
    told.text = shown.body.replace(wiring.DIGEST, "1" * 64)
    with pytest.raises(AirflowFailException, match=r"asked about another candidate before.*start a new run"):
        operator.execute(context)
    assert asked(ended).body == shown.body


def test_an_answer_does_not_count_for_what_was_registered_while_it_was_waited_for(asking: ModelDefinition) -> None:
    _, registered = handed_on("r")
    steps, evidence = Steps(asking, lambda: {"dag_run": SimpleNamespace(run_id="r")}), {"registered": registered}
    operator = ApproveOperator(
        task_id="approve", steps=steps, evidence=evidence, within=timedelta(hours=1), by=(), params=form()
    )
    event = {"chosen_options": ["Approve"], "responded_by_user": ADA, "params_input": {}}
    with pytest.raises(AirflowFailException, match="which nobody was shown; start a new run"):
        operator.execute_complete({}, event, shown="1" * 64)
    with pytest.raises(AirflowFailException, match="not on record; clear this task"):
        operator.execute_complete({}, event)


def test_a_run_that_asks_may_take_so_much_longer(asking: ModelDefinition, definition: ModelDefinition) -> None:
    from baton_airflow.factory import build_dag

    usual = build_dag(definition).dagrun_timeout
    assert usual is not None
    assert build_dag(asking).dagrun_timeout == usual + timedelta(hours=2)


def test_the_evidence_cannot_pretend_to_be_more_than_text() -> None:
    from baton_airflow.question import _cell

    text = _cell("a | b\n# <img src=x onerror=1> [click](http://x) `code` *bold*")
    assert text == "a \\| b # &lt;img src=x onerror=1> \\[click\\](http://x) \\`code\\` \\*bold\\*"
    assert Verdict(gate="g", judgement=Judgement.PASS, sentence=text).sentence == text
