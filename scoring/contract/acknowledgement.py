"""The acknowledgement: a worker says that a sequence is live there, from these offsets on, or refused (A.10)."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.envelope import Keyring, ReceivedHeaders, Sealed, seal, unseal
from scoring.contract.errors import EnvelopeRejected, Rejection
from scoring.contract.notice import ModelName, Sequence, Version

ACKNOWLEDGEMENT_TYPE = "baton.acknowledgement.v1"


class Outcome(StrEnum):
    """What became of a notice at one worker."""

    LIVE = "live"
    REFUSED = "refused"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a topic. The topic's id tells a recreated topic from the one before it (protocol A.13)."""

    topic: str
    topic_id: str
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker did with one sequence of a model.

    Attributes:
        worker: deployment and slot, ``deployment/slot``.
        instance: the random id of this start of the worker.
        positions: per assigned input partition, the first offset that this sequence scores.
        reason: for people, when refused.
        noticed_at: when the worker read the notice (its own clock).
        at: when it swapped or refused (its own clock).
    """

    ledger: UUID
    model: ModelName
    sequence: Sequence
    version: Version
    worker: str
    instance: str
    outcome: Outcome
    noticed_at: Moment
    at: Moment
    positions: tuple[Position, ...] = ()
    reason: str | None = None


decodable(Acknowledgement)


def seal_acknowledgement(acknowledgement: Acknowledgement, *, event_id: str, keyring: Keyring) -> Sealed:
    """The signed message; its subject and Kafka key are the model."""
    return seal(
        acknowledgement,
        event_type=ACKNOWLEDGEMENT_TYPE,
        subject=acknowledgement.model,
        source=acknowledgement.worker,
        event_id=event_id,
        time=acknowledgement.at,
        keyring=keyring,
    )


def unseal_acknowledgement(
    key: bytes | None, value: bytes | None, headers: ReceivedHeaders | None, keyring: Keyring
) -> Acknowledgement:
    """The acknowledgement inside a record of ``baton.acknowledgements``.

    Raises:
        EnvelopeRejected: it must not be believed; the reason says why.
    """
    event, found = unseal(
        key, value, headers, event_type=ACKNOWLEDGEMENT_TYPE, payload_type=Acknowledgement, keyring=keyring
    )
    if found.model != event.subject or found.worker != event.source:
        raise EnvelopeRejected(Rejection.WRONG_SUBJECT, f"{found.worker} on {found.model!r} under {event.subject!r}")
    return found
