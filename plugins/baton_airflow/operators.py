"""Operators of the steps that wait: for the workers, and for a person. Neither holds a worker slot while it waits."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import BaseOperator, Param
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import HITLUser

from baton_airflow.steps import PROMOTE, REFUSED, WAITED, Json, Steps

APPROVE, REJECT = "Approve", "Reject"
# Beyond its own limit the trigger only lacks a triggerer; then the task fails, and is tried again.
TRIGGERER_AWAY = timedelta(minutes=10)


def form(by: Sequence[str] = ()) -> dict[str, Param]:
    """What the form of the answer asks for; given to the task, for Airflow adds the form of the run.

    Args:
        by: ids of those who alone may answer; whoever shows the form can read them in it.
    """
    return {
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Reason",
            description="Why; it goes into the ledger, or into the record of the refusal.",
            approvers=list(by),
        )
    }


FORM = form()
_ASKED_BEFORE = (
    "this run asked about another candidate before, or with other evidence or of other people, and Airflow goes on "
    "showing that question; start a new run"
)


class WaitForWorkersOperator(BaseOperator):
    """Ends when every live worker scores with what was promoted; what takes longer is waited for in the triggerer.

    A retry is safe: it watches anew, and decides nothing.

    Args:
        promoted: the result of the promotion.
    """

    template_fields: Sequence[str] = ("promoted",)

    def __init__(self, *, steps: Steps, promoted: Json, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._steps = steps
        self.promoted = promoted

    def execute(self, context: Any) -> Json:  # noqa: ARG002  Airflow's signature
        """Look for a moment, then hand the wait over to the triggerer; None where nothing was promoted."""
        from baton_airflow.triggers import WorkersTrigger  # noqa: PLC0415  only here, not when DAG files are read

        watch, limit = self._steps.watch(self.promoted)
        if watch is None:
            return None
        waited = self._steps.look(watch)
        if waited is None:
            self.defer(trigger=WorkersTrigger(watch), method_name="execute_complete", timeout=limit + TRIGGERER_AWAY)
        return self._steps.watched({WAITED: waited})

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Json:  # noqa: ARG002
        """Go on with what the triggerer saw."""
        return self._steps.watched(event)


class ApproveOperator(HITLBranchOperator):
    """Asks a person whether the candidate may be promoted, and goes on to ``promote`` or to ``refused``.

    Nobody's answer in time is a rejection. A retry asks the same question again. Airflow keeps the first question of a
    run and shows no other, so a run whose candidate or evidence became another one cannot ask; it fails.

    Args:
        evidence: the results that the question is made of, by argument of ``Steps.question``.
    """

    template_fields: Sequence[str] = (*HITLBranchOperator.template_fields, "evidence")

    def __init__(
        self, *, steps: Steps, evidence: Mapping[str, Json], within: timedelta, by: Sequence[str], **kwargs: Any
    ) -> None:
        super().__init__(
            subject="May this candidate be promoted?",
            options=[APPROVE, REJECT],
            options_mapping={APPROVE: PROMOTE, REJECT: REFUSED},
            defaults=[REJECT],
            response_timeout=within,
            assigned_users=[HITLUser(id=user, name=user) for user in by] or None,
            **kwargs,
        )
        self._steps = steps
        self.evidence = evidence

    def execute(self, context: Any) -> Any:
        """Put the question, with the evidence, and wait.

        Raises:
            AirflowFailException: people are shown another question of this run.
        """
        self.subject, self.body = self._steps.question(**self.evidence)
        kept = self._put(context["task_instance"].id)
        if kept != (self.subject, self.body, self._asked_users()):
            raise AirflowFailException(_ASKED_BEFORE)
        shown = {"shown": self._steps.candidate(self.evidence["registered"])}
        raise TaskAwaitingInput(method_name="execute_complete", kwargs=shown, timeout=self.response_timeout)

    def execute_complete(self, context: Any, event: dict[str, Any], shown: str | None = None) -> Any:
        """Hand the answer on, and take its branch.

        Args:
            shown: digest of the candidate that was asked about.
        """
        approved = list(event.get("chosen_options", ())) == [APPROVE]
        self._steps.answer(self.evidence["registered"], event, shown=shown, approved=approved)
        return super().execute_complete(context, event)

    def _put(self, instance: Any) -> tuple[str, str | None, list[str]]:
        """Put the question; returns headline, text and people of the one that Airflow shows.

        Airflow's own way drops the answer in which these stand.
        """
        from airflow.sdk.api.datamodels._generated import HITLUser as User  # noqa: PLC0415  only in a task's process
        from airflow.sdk.execution_time import task_runner  # noqa: PLC0415
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload  # noqa: PLC0415

        question = CreateHITLDetailPayload(
            ti_id=instance,
            options=self.options,
            subject=self.subject,
            body=self.body,
            defaults=self.defaults,
            multiple=self.multiple,
            params=self.serialized_params,
            assigned_users=[User(**user) for user in self.assigned_users or ()],
        )
        kept: Any = task_runner.SUPERVISOR_COMMS.send(msg=question)
        return kept.subject, kept.body, sorted(user.id for user in kept.assigned_users or ())

    def _asked_users(self) -> list[str]:
        return sorted(user["id"] for user in self.assigned_users or ())
