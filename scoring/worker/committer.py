"""The committer thread: flush, send offsets, commit, strictly batch by batch (protocol B.4).

The hot thread owns beginning, producing and aborting; this thread owns everything in between. They talk through two
queues: transactions in, events out. After a failure the committer bounces everything until it is reset, because the
next transaction's records follow the failed one's.
"""

import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import msgspec
from confluent_kafka import KafkaException, Producer, TopicPartition

from scoring.worker.delivery import Delivery
from scoring.worker.emit import Output
from scoring.worker.metrics import COMMIT, FLUSH, Tally
from scoring.worker.models import Pending
from scoring.worker.policy import Remedy, kafka_error

CALL_TIMEOUT_S = 5.0
# A call that takes that much longer than its timeout never returns.
HUNG_AFTER_S = 10.0
POLL_S = 0.05

Result = TypeVar("Result")


class Stage(Enum):
    """How far a transaction has come."""

    FLUSHED = "flushed"
    COMMITTED = "committed"
    FAILED = "failed"
    BOUNCED = "bounced"


class Transaction(msgspec.Struct, frozen=True, eq=False):
    """One micro-batch on its way to the broker.

    Attributes:
        offsets: next offset per input partition, with the metadata of protocol A.12.
        group: the group metadata captured when the batch was consumed.
        settles: whom its acknowledgements settle.
        acknowledgements: those that are produced only after the outputs were flushed.
        tallies: what it makes of the models' records, counted once it is committed.
    """

    producer: Producer
    offsets: list[TopicPartition]
    group: Any
    settles: tuple[Pending, ...] = ()
    acknowledgements: Sequence[Output] = ()
    tallies: Sequence[Tally] = ()


class Event(msgspec.Struct, frozen=True, eq=False):
    """What the committer says about a transaction, and when it did, in seconds since 1970."""

    stage: Stage
    transaction: Transaction
    error: Exception | None = None
    must_exit: bool = False
    at_s: float = msgspec.field(default_factory=time.time)


def untimed(_stage: str, _took_s: float) -> None:
    """A time that nobody keeps."""


class Committer:
    """Runs the committer thread.

    Args:
        delivery: the calls that make a micro-batch final.
        abandoned: asked between two tries of a call that cannot get through; true gives the transaction up, for a
            worker that was told to stop while the broker is away.
        timed: told how long flushing and committing a transaction took, in seconds.
    """

    def __init__(
        self,
        delivery: Delivery,
        abandoned: Callable[[], bool],
        clock_s: Callable[[], float] = time.monotonic,
        timed: Callable[[str, float], None] = untimed,
    ) -> None:
        self._delivery = delivery
        self._abandoned = abandoned
        self._clock_s = clock_s
        self._timed = timed
        self._called_at_s: float | None = None
        self._transactions: SimpleQueue[Transaction | None] = SimpleQueue()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._bouncing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, transaction: Transaction) -> None:
        """Hand over a transaction whose records were all produced."""
        self._transactions.put(transaction)

    def event(self, timeout_s: float | None = None) -> Event | None:
        """The next event, or None where there is none within ``timeout_s`` (None: do not wait)."""
        try:
            return self._events.get_nowait() if timeout_s is None else self._events.get(timeout=timeout_s)
        except Empty:
            return None

    def hung(self) -> bool:
        """Whether the thread is in a call to the client that will never return."""
        called_at_s = self._called_at_s
        return called_at_s is not None and self._clock_s() - called_at_s > CALL_TIMEOUT_S + HUNG_AFTER_S

    def bounce(self) -> None:
        """From now on, give every transaction back that has not come to its commit."""
        self._bouncing.set()

    def reset(self) -> None:
        """Take transactions again, after those in flight were aborted."""
        self._bouncing.clear()

    def close(self) -> None:
        """End the thread after what was submitted."""
        self._transactions.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (transaction := self._transactions.get()) is not None:
            try:
                self._commit(transaction)
            except _Bounced:
                self._events.put(Event(Stage.BOUNCED, transaction))
            except KafkaException as error:
                self._bouncing.set()
                exit_needed = self._delivery.remedy(kafka_error(error)) is not Remedy.ABORT
                self._events.put(Event(Stage.FAILED, transaction, error, exit_needed))
            except Exception as error:  # an unknown state: only a fresh process is safe
                self._bouncing.set()
                self._events.put(Event(Stage.FAILED, transaction, error, must_exit=True))

    def _commit(self, transaction: Transaction) -> None:
        producer, offsets, group = transaction.producer, transaction.offsets, transaction.group
        began_s = self._clock_s()
        self._flush(producer)
        if transaction.acknowledgements:
            produce(producer, transaction.acknowledgements, self._give_way)
            self._flush(producer)
        self._events.put(Event(Stage.FLUSHED, transaction))
        flushed_s = self._clock_s()
        self._timed(FLUSH, flushed_s - began_s)
        self._repeat(lambda: self._delivery.send_offsets(producer, offsets, group, CALL_TIMEOUT_S))
        self._give_way()
        self._repeat(lambda: self._delivery.commit(producer, offsets, CALL_TIMEOUT_S))
        self._events.put(Event(Stage.COMMITTED, transaction))
        self._timed(COMMIT, self._clock_s() - flushed_s)

    def _flush(self, producer: Producer) -> None:
        while self._call(lambda: producer.flush(CALL_TIMEOUT_S)):
            self._give_way()
        self._give_way()
        self._delivery.check(producer)

    def _repeat(self, call: Callable[[], None]) -> None:
        """A retriable error means the same call again (protocol B.5); a commit that timed out is resumed by commit."""
        while True:
            try:
                return self._call(call)
            except KafkaException as error:
                if self._delivery.remedy(kafka_error(error)) is not Remedy.REPEAT or self._abandoned():
                    raise

    def _call(self, call: Callable[[], Result]) -> Result:
        self._called_at_s = self._clock_s()
        try:
            return call()
        finally:
            self._called_at_s = None

    def _give_way(self) -> None:
        if self._bouncing.is_set() or self._abandoned():
            raise _Bounced


def produce(producer: Producer, outputs: Sequence[Output], waiting: Callable[[], None]) -> None:
    """Hand records to the client's queue, in order; waits while it is full.

    Args:
        waiting: called again and again meanwhile; what it raises ends the wait.

    Raises:
        KafkaException: the client refuses one.
    """
    queue = producer.produce
    for output in outputs:
        while True:
            try:
                if output.headers is None:  # by position: keywords cost as much again as the call
                    queue(output.topic, output.value, output.key, output.partition)
                else:
                    headers: Any = [*output.headers]
                    queue(output.topic, output.value, output.key, output.partition, headers=headers)
            except BufferError:  # the client's queue is full: let it drain
                producer.poll(POLL_S)
                waiting()
            else:
                break


class _Bounced(Exception):
    """The transaction is given back; never leaves this module."""
