"""The notice: the Kafka message that announces an entry of the ledger (protocol A.7, A.8)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest
from scoring.contract.envelope import Keyring, ReceivedHeaders, Sealed, seal, unseal
from scoring.contract.errors import EnvelopeRejected, Rejection

NOTICE_TYPE = "baton.notice.v1"

MODEL_NAME = r"^[a-z][a-z0-9_]{0,62}\Z"
ModelName = Annotated[str, msgspec.Meta(pattern=MODEL_NAME)]
# As far as the ledger counts.
Sequence = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
# It becomes part of a path and of a command line.
Version = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]


class Kind(StrEnum):
    """What an entry of the ledger decides."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETIRE = "retire"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger, as workers need it.

    Attributes:
        ledger: the ledger's UUID; a worker refuses another ledger's notices.
        model: the model's name; equals the event's subject and the record's key.
        sequence: the entry's place in the model's unbroken sequence.
        version: the model version in the registry.
        manifest_digest: SHA-256 of the bundle's manifest.
        effective_from: event time from which this version is the one that counts.
    """

    ledger: UUID
    model: ModelName
    sequence: Sequence
    kind: Kind
    version: Version
    manifest_digest: Digest
    decided_at: Moment
    effective_from: Moment


decodable(Notice)


def seal_notice(notice: Notice, *, source: str, event_id: str, time: datetime, keyring: Keyring) -> Sealed:
    """The signed message that announces ``notice``."""
    return seal(
        notice,
        event_type=NOTICE_TYPE,
        subject=notice.model,
        source=source,
        event_id=event_id,
        time=time,
        keyring=keyring,
    )


def unseal_notice(key: bytes | None, value: bytes | None, headers: ReceivedHeaders | None, keyring: Keyring) -> Notice:
    """The notice inside a record of ``baton.notices``.

    Raises:
        EnvelopeRejected: it must not be believed; the reason says why.
    """
    event, notice = unseal(key, value, headers, event_type=NOTICE_TYPE, payload_type=Notice, keyring=keyring)
    if notice.model != event.subject:
        raise EnvelopeRejected(Rejection.WRONG_SUBJECT, f"a notice for {notice.model!r} under {event.subject!r}")
    return notice
