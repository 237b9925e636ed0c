"""The request for a retrain: a message that wakes a model's training; many of them make one run."""

from datetime import datetime
from typing import Annotated

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.envelope import Keyring, ReceivedHeaders, Sealed, seal, unseal
from scoring.contract.errors import EnvelopeRejected, Rejection
from scoring.contract.notice import ModelName

RETRAIN_TYPE = "baton.retrain.v1"

# They go into the ledger, and databases store neither NUL nor half of a surrogate pair.
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*\Z")]


class RetrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asks for a retrain.

    Attributes:
        model: the model's name; equals the event's subject and the record's key.
        reason: why, for people.
        by: who asks: a person or a system.
    """

    model: ModelName
    reason: Line
    by: Line


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was received.

    Attributes:
        event_id: the event's id.
        at: when it was asked.
    """

    request: RetrainRequest
    event_id: str
    at: Moment


decodable(RetrainRequest)


def seal_retrain(request: RetrainRequest, *, source: str, event_id: str, time: datetime, keyring: Keyring) -> Sealed:
    """The signed message that carries ``request``."""
    return seal(
        request,
        event_type=RETRAIN_TYPE,
        subject=request.model,
        source=source,
        event_id=event_id,
        time=time,
        keyring=keyring,
    )


def unseal_retrain(key: bytes | None, value: bytes | None, headers: ReceivedHeaders | None, keyring: Keyring) -> Asked:
    """The request inside a record of ``baton.retrains``.

    Raises:
        EnvelopeRejected: it must not be believed; the reason says why.
    """
    event, request = unseal(key, value, headers, event_type=RETRAIN_TYPE, payload_type=RetrainRequest, keyring=keyring)
    if request.model != event.subject:
        raise EnvelopeRejected(Rejection.WRONG_SUBJECT, f"a request for {request.model!r} under {event.subject!r}")
    return Asked(request=request, event_id=event.id, at=event.time)
