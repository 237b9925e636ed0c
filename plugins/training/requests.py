"""The requests for retrains of one model: those that no run has covered yet, and the mark up to which one has.

The mark is the offset that a consumer group of the model's own has committed, and its metadata say which run covered
what lies before it: both are committed in one step, after the run was handed over. What comes after the mark is waiting
until a run covers it; a mark that could not be committed makes one run more, never one less.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected, Unavailable
from scoring.contract.retrain import Asked, unseal_retrain
from scoring.contract.topics import RETRAINS
from scoring.kafka import TIMEOUT_S, Options, baton_error, client_options, headers_of, kafka_errors, require_topics
from training.wake import Covered

Answer = TypeVar("Answer")

POLL_S = 1.0
_MOVING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
_MOVING_PAUSE_S = 0.2
READING, MARKING = "reading requests for retrains", "marking requests for retrains as covered"


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a run.

    Attributes:
        asked: the model's requests behind the mark, the oldest first.
        mark: offset of the first record that is not covered.
        end: offset behind the last record that was read.
        covered: the last run that covered requests; None where there was none yet.
    """

    asked: tuple[Asked, ...]
    mark: int
    end: int
    covered: Covered | None = None


class Requests:
    """Reads and marks the requests of a model. A context manager: leaving it closes the connection.

    Raises:
        ConfigurationError: there is no topic for requests.
        Unavailable: the broker cannot be reached.
    """

    def __init__(self, kafka: Options, keyring: Keyring, model: str, *, topic: str = RETRAINS) -> None:
        require_topics(kafka, [topic])
        self._keyring, self._model, self._topic = keyring, model, topic
        options = client_options(
            kafka,
            group_id=group_of(model),  # its offsets are kept there; nobody joins it
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_partition_eof=True,
        )
        with kafka_errors(READING):
            self._consumer = Consumer(options)

    def pending(self) -> Pending:
        """Everything that waits now; what must not be believed is somebody else's to put aside."""
        with kafka_errors(READING):
            (place,) = coordinated(
                lambda: self._consumer.committed([TopicPartition(self._topic, 0)], timeout=TIMEOUT_S)
            )
            offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
            self._consumer.assign([TopicPartition(self._topic, 0, offset)])
            asked, end = self._read(max(place.offset, 0))
        return Pending(asked=asked, mark=max(place.offset, 0), end=end, covered=_covered(place.metadata))

    def cover(self, end: int, covered: Covered | None) -> None:
        """Move the mark to ``end``: a run covers everything before it."""
        metadata = "" if covered is None else msgspec.json.encode(covered).decode()
        with kafka_errors(MARKING):
            place = TopicPartition(self._topic, 0, end, metadata)
            (kept,) = coordinated(lambda: self._consumer.commit(offsets=[place], asynchronous=False)) or [place]
        if kept.error is not None:
            raise baton_error(MARKING, kept.error)

    def _read(self, end: int) -> tuple[tuple[Asked, ...], int]:
        asked: list[Asked] = []
        silent_s = 0.0
        while silent_s < TIMEOUT_S:
            message = self._consumer.poll(POLL_S)
            if message is None:
                silent_s += POLL_S
                continue
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  so the client calls its code
                    return tuple(asked), max(end, message.offset() or 0)
                raise baton_error(READING, error)
            end = (message.offset() or 0) + 1
            try:
                found = unseal_retrain(message.key(), message.value(), headers_of(message), self._keyring)
            except EnvelopeRejected:
                continue
            if found.request.model == self._model:
                asked.append(found)
        raise Unavailable(f"Kafka, while {READING}: no end of {self._topic} within {TIMEOUT_S:.0f} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()


def group_of(model: str) -> str:
    """The consumer group that keeps a model's mark."""
    return f"baton-retrain-{model}"


def coordinated(call: Callable[[], Answer], clock: Callable[[], float] = time.monotonic) -> Answer:
    """The call's answer; the client does not ask again by itself while the group's coordinator moves."""
    deadline = clock() + TIMEOUT_S
    while True:
        try:
            return call()
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or clock() > deadline:
                raise
            time.sleep(_MOVING_PAUSE_S)


def _covered(metadata: str | None) -> Covered | None:
    try:
        return msgspec.json.decode(metadata or "", type=Covered)
    except msgspec.MsgspecError:
        return None
