"""The one replayer of a model: a transactional producer that fences every earlier one, on whichever host.

Each batch of dead letters is put back in one transaction together with the notes that say so.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from scoring.contract.errors import BatonError, Unavailable
from scoring.contract.replay import Note
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES, REPLAYS
from scoring.kafka import TIMEOUT_S, Options, RecordHeaders, baton_error, client_options, kafka_errors

# A killed replay's open transaction hides later input records from the workers for this long at the most.
TRANSACTION_TIMEOUT_MS = 10_000
# A batch of the largest records would be a gigabyte: the client is given them piece by piece.
_QUEUE_KBYTES = 65_536
_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.CONCURRENT_TRANSACTIONS,
}
_RETRY_PAUSE_S = 0.1
_REGISTERED_S = 1.0


class Overtaken(BatonError):
    """Another replay of the same model began, and only one may be under way."""


class Prepared(msgspec.Struct, frozen=True):
    """A record that is to be put back, and the note of it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders
    note: Note


class Replayer:
    """Puts records back, each with its note, all of a batch or none of it. A context manager.

    Entering fences every earlier replayer of the model and ends its transaction; only what is read of the notes after
    that can be relied on.

    Args:
        maximum_bytes: of a record.
        notes_topic: where the notes go.
        make_producer: makes the client.
    """

    def __init__(
        self,
        model: str,
        kafka: Options,
        *,
        maximum_bytes: int = OUTPUT_MAXIMUM_BYTES,
        notes_topic: str = REPLAYS,
        timeout_s: float = TIMEOUT_S,
        make_producer: Callable[[dict[str, Any]], Producer] = Producer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._notes_topic = notes_topic
        self._timeout_s = timeout_s
        self._clock = clock
        with kafka_errors(f"opening the replay of {model}"):
            self._producer = make_producer(
                client_options(
                    kafka,
                    transactional_id=f"baton-replay-{model}",
                    transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                    message_max_bytes=max(maximum_bytes, OUTPUT_MAXIMUM_BYTES),
                    queue_buffering_max_kbytes=_QUEUE_KBYTES,
                )
            )

    def __enter__(self) -> Self:
        self._step("fencing earlier replays", self._producer.init_transactions)
        return self

    def __exit__(self, *_: object) -> None:
        # What became of the transaction is known by now; closing a fenced producer warns of it, and then raises.
        with warnings.catch_warnings(), suppress(KafkaException, SystemError):
            warnings.simplefilter("ignore", RuntimeWarning)
            self._producer.close()

    def put_back(self, batch: Sequence[Prepared]) -> None:
        """Produce the records and their notes, and commit.

        Raises:
            Overtaken: another replay of the model began; this batch is not committed, unless that one says so.
            Unavailable: the broker does not answer; whether the batch was committed, the notes tell.
            ConfigurationError: there is no right to write to a topic.
        """
        self._do("beginning a transaction", self._producer.begin_transaction)
        for prepared in batch:
            self._do("putting records back", partial(self._put, prepared))
        self._commit(batch)

    def _put(self, prepared: Prepared) -> None:
        self._produce(prepared.topic, prepared.partition, prepared.key, prepared.value, prepared.headers)
        self._note(prepared.note)

    def _note(self, note: Note) -> None:
        """In the same transaction: what is noted was put back, and what was put back is noted."""
        self._produce(self._notes_topic, 0, note.key(), msgspec.json.encode(note), [])

    def _commit(self, batch: Sequence[Prepared]) -> None:  # noqa: ARG002  what a planted bug wants to know
        # A record that was not delivered makes the commit fail.
        self._step("committing", self._producer.commit_transaction)

    def _produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: RecordHeaders
    ) -> None:
        deadline_s = self._clock() + self._timeout_s
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=list(headers))
            except BufferError:  # the client's queue is full
                self._producer.poll(_RETRY_PAUSE_S)
                if self._clock() > deadline_s:
                    raise Unavailable(f"Kafka takes no records of {topic} within {self._timeout_s:g} s") from None
            else:
                return

    def _step(self, doing: str, call: Callable[[float], object]) -> None:
        """Make a call that takes a timeout, and again for as long as its error is retriable and time is left."""
        deadline_s = self._clock() + self._timeout_s
        while (left_s := deadline_s - self._clock()) > 0:
            try:
                call(left_s)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise self._failed(doing, error) from error
                self._producer.poll(min(_RETRY_PAUSE_S, left_s))
            else:
                return
        raise Unavailable(f"Kafka, while {doing} of the replay of {self._model}: not done in time; {_RUN_AGAIN}")

    def _do(self, doing: str, call: Callable[[], object]) -> None:
        try:
            call()
        except KafkaException as error:
            raise self._failed(doing, error) from error

    def _failed(self, doing: str, error: KafkaException) -> BatonError:
        cause = error.args[0]
        if cause.code() in _FENCED:
            return Overtaken(f"another replay of {self._model} began while this one was {doing}; {_RUN_AGAIN}")
        if not cause.fatal():
            with suppress(KafkaException, SystemError):  # otherwise the timeout does it
                self._producer.flush(_REGISTERED_S)  # what the coordinator does not know of yet cannot be aborted
                self._producer.abort_transaction(self._timeout_s)
        return baton_error(f"{doing} of the replay of {self._model}", cause)


_RUN_AGAIN = "run it again: what was put back is on record, and is not put back twice"
