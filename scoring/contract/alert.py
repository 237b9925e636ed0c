"""The alert: a message that says that a run failed, or refused its candidate."""

from datetime import datetime
from enum import StrEnum

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.envelope import Keyring, ReceivedHeaders, Sealed, seal, unseal
from scoring.contract.notice import ModelName

ALERT_TYPE = "baton.alert.v1"


class AlertKind(StrEnum):
    """What is told. Values are stable: receivers route by them.

    Attributes:
        TASK_FAILED: a task failed, and is not tried again.
        RUN_FAILED: a run ended red; one for each such run.
        REFUSED: a run ended green, but its candidate was not promoted.
    """

    TASK_FAILED = "task-failed"
    RUN_FAILED = "run-failed"
    REFUSED = "refused"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody should know about a run. The event's subject and the record's key are the model's, or the DAG's.

    Attributes:
        model: None where the DAG is nobody's in particular.
        dag_id, run_id, task_id: where in Airflow; there is no task where the whole run failed.
        sentence: what happened, for people.
        refusals: the gates that failed, or the refusal's name.
        by: the person who rejected the candidate.
    """

    kind: AlertKind
    model: ModelName | None
    dag_id: str
    run_id: str
    sentence: str
    at: Moment
    task_id: str | None = None
    refusals: tuple[str, ...] = ()
    by: str | None = None

    @property
    def subject(self) -> str:
        """What the alert is about: the model, or the DAG."""
        return self.model or self.dag_id


decodable(Alert)


def seal_alert(alert: Alert, *, source: str, event_id: str, time: datetime, keyring: Keyring) -> Sealed:
    """The signed message that carries ``alert``."""
    return seal(
        alert,
        event_type=ALERT_TYPE,
        subject=alert.subject,
        source=source,
        event_id=event_id,
        time=time,
        keyring=keyring,
    )


def unseal_alert(key: bytes | None, value: bytes | None, headers: ReceivedHeaders | None, keyring: Keyring) -> Alert:
    """The alert inside a record of ``baton.alerts``.

    Raises:
        EnvelopeRejected: it must not be believed; the reason says why.
    """
    _, alert = unseal(key, value, headers, event_type=ALERT_TYPE, payload_type=Alert, keyring=keyring)
    return alert
