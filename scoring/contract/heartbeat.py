"""The heartbeat: what one worker is doing with each of its models, every two seconds (protocol A.9)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.envelope import Keyring, ReceivedHeaders, Sealed, seal, unseal
from scoring.contract.errors import EnvelopeRejected, Rejection
from scoring.contract.notice import Version

HEARTBEAT_TYPE = "baton.heartbeat.v1"

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class State(StrEnum):
    """A worker's state for one model (protocol A.9)."""

    WAITING = "waiting"
    FETCHING = "fetching"
    LIVE = "live"
    REFUSED = "refused"
    HELD = "held"
    RETIRED = "retired"


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one worker.

    Attributes:
        state: what the worker is doing about the newest sequence that it knows.
        sequence: the sequence that scores; None while waiting.
        version: the version that scores; None while waiting.
        pending: the sequence that is being fetched, was refused, or that a held partition needs.
        reason: why it is refused, held or still fetching, for people.
        positions: next offset to score, per assigned partition.
        lag: records behind the end of each assigned partition, in the order of ``positions``; None where unknown.
        lag_s: how long each is behind its end, in seconds, in the same order; None where unknown.
        paused: how many assigned partitions wait, by the code of the reason.
        records: how many records this instance gave an outcome, committed.
        dead_letters: how many of them are dead letters, by reason.
        delay_s: the median of the last micro-batches, from the last record's timestamp to its commit, in seconds.
        swap_pause_s: what taking in the last bundle took between two micro-batches, in seconds; None before one.

    Workers of before the last six fields leave some of them out.
    """

    state: State
    sequence: Count | None = None
    version: Version | None = None
    pending: Count | None = None
    reason: str | None = None
    positions: tuple[Position, ...] = ()
    lag: tuple[Count | None, ...] = ()
    lag_s: tuple[float | None, ...] = ()
    paused: Mapping[str, Count] = {}
    records: Count = 0
    dead_letters: Mapping[str, Count] = {}
    delay_s: float | None = None
    swap_pause_s: float | None = None


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """One sign of life.

    Attributes:
        worker: deployment and slot, ``deployment/slot``; equals the record's key.
        instance: random id of this start of the worker.
        counter: grows by one with each heartbeat of the instance; observers watch it, not the clock (protocol A.11).
        left: true in the last heartbeat of a clean exit.
        ledger: the ledger that this worker follows; None before its first notice.
        rejected: how many notices this instance did not believe, by reason (``Rejection``); after a restart it counts
            from the beginning of the topic again. Workers of before this field leave it out.
    """

    worker: str
    instance: str
    counter: Count
    at: Moment
    left: bool = False
    ledger: UUID | None = None
    models: Mapping[str, ModelStatus] = {}
    rejected: Mapping[str, Count] = {}


decodable(Heartbeat)


def seal_heartbeat(heartbeat: Heartbeat, *, event_id: str, keyring: Keyring) -> Sealed:
    """The signed message; its subject and Kafka key are the worker's id."""
    return seal(
        heartbeat,
        event_type=HEARTBEAT_TYPE,
        subject=heartbeat.worker,
        source=heartbeat.worker,
        event_id=event_id,
        time=heartbeat.at,
        keyring=keyring,
    )


def unseal_heartbeat(
    key: bytes | None, value: bytes | None, headers: ReceivedHeaders | None, keyring: Keyring
) -> Heartbeat:
    """The heartbeat inside a record of ``baton.workers``.

    Raises:
        EnvelopeRejected: it must not be believed; the reason says why.
    """
    event, found = unseal(key, value, headers, event_type=HEARTBEAT_TYPE, payload_type=Heartbeat, keyring=keyring)
    if found.worker != event.subject:
        raise EnvelopeRejected(Rejection.WRONG_SUBJECT, f"a heartbeat of {found.worker!r} under {event.subject!r}")
    return found
