"""The publisher of a model's notices: at most one speaks at a time, and what it says is never older (protocol A.7).

Compaction keeps the latest offset, not the highest sequence. So each model has one ``transactional.id``; opening a
publisher fences the one before it on any host, and only *then* is the ledger's head read: whatever the fenced one
managed to commit was at or below it.
"""

import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scoring.contract.envelope import Keyring, Sealed
from scoring.contract.errors import BatonError, Unavailable
from scoring.contract.notice import seal_notice
from scoring.contract.topics import NOTICES
from scoring.kafka import TIMEOUT_S, Options, baton_error, client_options, kafka_errors, require_topics
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger

# A killed publisher's open transaction hides other models' later notices for this long at the most.
TRANSACTION_TIMEOUT_MS = 10_000
_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    # What a commit meets while another publisher is fencing this one: whether it got through, comparing will tell.
    KafkaError.UNKNOWN,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.CONCURRENT_TRANSACTIONS,
}
_RETRY_PAUSE_S = 0.1
_closing = threading.Lock()


class Fenced(BatonError):
    """Another publisher of the same model took over. It is no failure: compare again (protocol A.7)."""


def publish_head(
    model: str,
    ledger: Ledger,
    keyring: Keyring,
    kafka: Options,
    *,
    topic: str = NOTICES,
    timeout_s: float = TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> LedgerEntry | None:
    """Publish the notice of the ledger's head of ``model`` and wait until it is committed.

    Returns:
        the entry that was published; None where the ledger has none of the model.

    Raises:
        Fenced: another publisher took over meanwhile.
        Unavailable: the broker or the ledger cannot be reached; the notice may or may not be out: compare again.
        ConfigurationError: the topic is not there, takes no message of that size, or access is refused.
    """
    require_topics(kafka, [topic])
    publisher = Publisher(model, kafka, topic=topic, timeout_s=timeout_s, clock=clock)
    with publisher:
        head = ledger.head(model)  # after fencing, never before it
        if head is not None:
            publisher.publish(sealed_notice(head, ledger, keyring))
    return head


def sealed_notice(entry: LedgerEntry, ledger: Ledger, keyring: Keyring) -> Sealed:
    """The signed notice of an entry; the same entry always gives the same event."""
    identity = ledger.identity()
    return seal_notice(
        entry.notice(identity),
        source=f"baton/ledger/{identity}",
        event_id=f"{entry.model}/{entry.sequence}",
        time=entry.decided_at,
        keyring=keyring,
    )


class Publisher:
    """A transactional producer that, once entered, is the only one of its model.

    Used as a context manager: entering fences every earlier publisher of the model.
    """

    def __init__(
        self, model: str, kafka: Options, *, topic: str, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._topic = topic
        self._clock = clock
        self._deadline = clock() + timeout_s
        self._failures: list[KafkaError] = []
        self._delivered = 0
        with kafka_errors(f"opening the publisher of {model}"):
            self._producer = Producer(
                client_options(
                    kafka,
                    transactional_id=f"baton-publisher-{model}",
                    transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                    linger_ms=0,
                )
            )

    def __enter__(self) -> Self:
        self._step("fencing earlier publishers", self._producer.init_transactions)
        return self

    def __exit__(self, *_: object) -> None:
        # What became of the transaction is known by now. A fenced producer cannot abort any more: closing it warns of
        # that, and then raises; SystemError where a warning is an error. Filters of warnings belong to the process: of
        # two publishers in two threads the second waits.
        with _closing, warnings.catch_warnings(), suppress(KafkaException, SystemError):
            warnings.simplefilter("ignore", RuntimeWarning)
            self._producer.close()

    def publish(self, sealed: Sealed) -> None:
        """Produce one notice in a transaction of its own, and commit it.

        Raises:
            Fenced, Unavailable, ConfigurationError: see ``publish_head``.
        """
        self._failures.clear()
        self._delivered = 0
        self._do("beginning a transaction", self._producer.begin_transaction)
        self._do("producing the notice", partial(self._produce, sealed))
        self._step("committing the notice", self._producer.commit_transaction)
        if self._failures:
            raise baton_error(f"delivering the notice of {self._model}", self._failures[0])
        if self._delivered != 1:
            raise Unavailable(f"Kafka reported no delivery of the notice of {self._model}; run `baton reconcile`")

    def _produce(self, sealed: Sealed) -> None:
        self._producer.produce(
            self._topic,
            value=sealed.value,
            key=sealed.key,
            headers=list(sealed.headers),
            partition=0,
            on_delivery=self._report,
        )

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        # Raising here would make a commit that succeeded look like one that failed.
        if error is None:
            self._delivered += 1
        else:
            self._failures.append(error)

    def _step(self, doing: str, call: Callable[[float], object]) -> None:
        """Make a call that takes a timeout, and again for as long as its error is retriable and time is left."""
        while True:
            left_s = self._deadline - self._clock()
            if left_s <= 0:
                raise Unavailable(f"Kafka, while {doing} of {self._model}: not done in time; run `baton reconcile`")
            try:
                call(left_s)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise self._failed(doing, error) from error
                self._producer.poll(min(_RETRY_PAUSE_S, left_s))
            else:
                return

    def _do(self, doing: str, call: Callable[[], object]) -> None:
        try:
            call()
        except (KafkaException, BufferError) as error:
            raise self._failed(doing, error) from error

    def _failed(self, doing: str, error: KafkaException | BufferError) -> BatonError:
        cause = error.args[0]
        if not isinstance(cause, KafkaError):
            self._abort()
            return Unavailable(f"Kafka, while {doing} of {self._model}: {cause}")
        if cause.code() in _FENCED:
            return Fenced(f"another publisher of {self._model} took over while {doing}")
        if not cause.fatal():
            self._abort()
        return baton_error(f"{doing} of {self._model}", cause)

    def _abort(self) -> None:
        """Abort so that readers need not wait for the timeout; where that fails, the timeout does it."""
        try:
            self._producer.abort_transaction(max(1.0, self._deadline - self._clock()))
        except KafkaException as error:
            self._failures.append(error.args[0])
