"""Decisions of the worker as plain values and pure functions: what to do about an error."""

from enum import Enum

from confluent_kafka import KafkaError, KafkaException

from scoring.contract.errors import BatonError


class Remedy(Enum):
    """What to do about a failed call to the broker (protocol B.5)."""

    REPEAT = "repeat the same call"
    ABORT = "abort the transactions in flight and go back to the committed offsets"
    EXIT = "exit, so that a fresh process starts"


class BatchFailed(BatonError):
    """A transaction cannot be committed; what it contained has to be scored again."""


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
