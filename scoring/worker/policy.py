"""Decisions of the worker as plain values and pure functions: what to do about an error, how long to wait."""

from enum import Enum

import msgspec
from confluent_kafka import KafkaError, KafkaException

from scoring.contract.errors import BatonError


class Remedy(Enum):
    """What to do about a failed call to the broker (protocol B.5)."""

    REPEAT = "repeat the same call"
    ABORT = "abort the transactions in flight and go back to the committed offsets"
    EXIT = "exit, so that a fresh process starts"


class BatchFailed(BatonError):
    """A transaction cannot be committed; what it contained has to be scored again."""


class MustExit(BatonError):
    """The process cannot go on (it was fenced, or the client is in an unknown state); a fresh one has to start."""


def remedy(error: KafkaError) -> Remedy:
    """What a transactional call's error asks for, by its flags; an unknown error means that the state is unknown."""
    if error.fatal():
        return Remedy.EXIT
    if error.txn_requires_abort():
        return Remedy.ABORT
    return Remedy.REPEAT if error.retriable() else Remedy.EXIT


def kafka_error(exception: KafkaException) -> KafkaError:
    """The error inside an exception of the client."""
    error: KafkaError = exception.args[0]
    return error


_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001  # the client's public names for its own errors
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}


def because(error: Exception | KafkaError | None) -> str:
    """Why a call failed, for people; a worker that was fenced is told what to look for."""
    found = kafka_error(error) if isinstance(error, KafkaException) else error
    if not isinstance(found, KafkaError):
        return str(error)
    fenced = found.code() in _FENCED or "fenced" in found.str().lower()
    hint = "; most often another process runs in this slot: give one of them another --slot, or --deployment"
    return f"{found.str()} ({found.name()}){hint if fenced else ''}"


class Backoff(msgspec.Struct, frozen=True):
    """Waits that double from ``first_s`` to ``longest_s``."""

    first_s: float = 0.5
    longest_s: float = 30.0

    def wait_s(self, attempt: int) -> float:
        """How long to wait after attempt number ``attempt`` (1, 2, …)."""
        return float(min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30)))
