"""What each button of the page does, and who may press it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf

from baton_airflow.page.acting import Decide, Order, Told, carry_out, promoting, rolling_back
from baton_airflow.page.airflow import AirflowApi, Json
from baton_airflow.page.auth import person
from baton_airflow.page.forms import conf_of, reason_of
from baton_airflow.page.gather import dag_of
from baton_airflow.page.rights import Rights
from baton_airflow.page.view import approvers_of, shown_of
from scoring.contract.errors import ConfigurationError
from scoring.contract.notice import Version
from scoring.settings import read_settings

APPROVE, REJECT = "Approve", "Reject"
# How long the scheduler may take to hear of a process that has ended, beyond the heartbeat at which that is noticed.
HEARD_WITHIN_S = 5.0
_INCOMPLETE = "the form is incomplete; load the page again"


class Button(StrEnum):
    """The buttons, as their addresses name them."""

    RETRAIN = "retrain"
    APPROVE = "approve"
    REJECT = "reject"
    PROMOTE = "promote"
    ROLL_BACK = "roll-back"


class Press(msgspec.Struct, frozen=True):
    """A button that was pressed, by somebody who may."""

    model: str
    user: BaseUser
    api: AirflowApi
    form: Mapping[str, str]


def why_not(button: Button, rights: Rights) -> str | None:
    """Why a user may not press it; None where it is allowed."""
    if button is Button.RETRAIN:
        return rights.read or rights.retrain
    if button in {Button.APPROVE, Button.REJECT}:
        return rights.read or rights.answer
    return rights.read or rights.decide


async def press(button: Button, pressed: Press) -> Told:
    """Do it.

    Raises:
        ConfigurationError: the form cannot be read.
        AirflowSaid: Airflow refuses it.
    """
    return await _DOES[button](pressed)


async def _retrain(pressed: Press) -> Told:
    dag_id = dag_of(pressed.model)
    dag = await pressed.api.dag(dag_id)
    # From the form's own name: sent twice, it starts one run.
    run_id = f"page__{_decision(pressed.form)}"
    if not await pressed.api.start(dag_id, run_id, conf_of(dag.get("params") or {}, pressed.form)):
        return Told(f"Run {run_id} was started by this form already.", good=True)
    if dag.get("is_paused"):
        return Told(f"Run {run_id} waits: the DAG {dag_id} is paused. Switch it on in Airflow.", good=True)
    return Told(f"Run {run_id} was started. It trains and judges a candidate, and takes some minutes.", good=True)


async def _approve(pressed: Press) -> Told:
    await _answer(pressed, APPROVE)
    return Told("Approved. The run goes on to the promotion, and your name goes into the ledger.", good=True)


async def _reject(pressed: Press) -> Told:
    await _answer(pressed, REJECT)
    return Told("Rejected. The champion stays, and the run ends with your name and reason.", good=True)


async def _answer(pressed: Press, option: str) -> None:
    run_id = pressed.form.get("run", "")
    if not run_id:
        raise ConfigurationError("the form names no run; load the page again")
    asked = await pressed.api.questions(dag_of(pressed.model))
    found = next((each for each in asked if each["task_instance"]["dag_run_id"] == run_id), None)
    if found is None:
        raise ConfigurationError(f"run {run_id} waits for no answer any more")
    if shown_of(found) != pressed.form.get("shown"):
        raise ConfigurationError("the run asks another question by now; read the one on this page and answer it")
    await asyncio.sleep(_heard_in_s(found, datetime.now(UTC)))
    await pressed.api.answer(dag_of(pressed.model), run_id, option, reason_of(pressed.form))


def _heard_in_s(asked: Json, now: datetime) -> float:
    """Seconds until the scheduler has heard that the task which asked has paused.

    Airflow 3.3 loses an answer that comes before: with the process of the question it takes the resumed task for ended,
    fails it, and asks once more. The process's end is noticed up to a heartbeat late.
    """
    begun = [asked["created_at"], asked["task_instance"].get("start_date")]  # a question that is put again is not newer
    age_s = min((now - datetime.fromisoformat(each)).total_seconds() for each in begun if each)
    heard_s = conf.getint("workers", "min_heartbeat_interval") + HEARD_WITHIN_S
    return min(max(0.0, heard_s - age_s), heard_s)


async def _promote(pressed: Press) -> Told:
    order = _order(pressed)
    if not order.version:
        raise ConfigurationError("no version was chosen")
    approvers = approvers_of(await pressed.api.tasks(dag_of(pressed.model)))
    if approvers and not is_approver(approvers, pressed.user):
        return Told(f"Nothing was decided. Only {', '.join(approvers)} may promote {pressed.model}.", good=False)
    return await _decide(promoting, pressed, order)


async def _roll_back(pressed: Press) -> Told:
    return await _decide(rolling_back, pressed, _order(pressed))


async def _decide(decided: Decide, pressed: Press, order: Order) -> Told:
    """Decide about a model that this Airflow trains: of another one its rights say nothing."""
    await pressed.api.dag(dag_of(pressed.model))
    return await asyncio.to_thread(lambda: carry_out(decided, order, read_settings()))


def is_approver(approvers: tuple[str, ...], user: BaseUser) -> bool:
    """Whether a user is one of those that the definition names, as Airflow takes it."""
    return bool(get_auth_manager().is_authorized_hitl_task(assigned_users=set(approvers), user=user))


def _order(pressed: Press) -> Order:
    form = pressed.form
    try:
        version = form.get("version", "")
        return Order(
            model=pressed.model,
            version=msgspec.convert(version, Version) if version else "",
            head=int(form.get("head", "")),
            reason=reason_of(form),
            actor=person(pressed.user),
            decision=_decision(form),
        )
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigurationError(_INCOMPLETE) from error


def _decision(form: Mapping[str, str]) -> str:
    """The form's own name."""
    try:
        return str(UUID(form.get("decision", "")))
    except ValueError as error:
        raise ConfigurationError(_INCOMPLETE) from error


_DOES: Mapping[Button, Callable[[Press], Awaitable[Told]]] = {
    Button.RETRAIN: _retrain,
    Button.APPROVE: _approve,
    Button.REJECT: _reject,
    Button.PROMOTE: _promote,
    Button.ROLL_BACK: _roll_back,
}
