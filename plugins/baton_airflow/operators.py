"""Operators of the steps that wait: for the workers, and for a person. Neither holds a worker slot while it waits."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import BaseOperator, Param
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

    Nobody's answer in time is a rejection. A retry asks again.

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
        """Put the question, with the evidence."""
        self.subject, self.body = self._steps.question(**self.evidence)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Hand the answer on, and take its branch."""
        approved = list(event.get("chosen_options", ())) == [APPROVE]
        self._steps.answer(self.evidence["registered"], event, approved=approved)
        return super().execute_complete(context, event)
