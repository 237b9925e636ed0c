"""Two transactional producers taking turns (protocol B.3 to B.5): begin, produce, hand over, and on failure abort both.

The hot thread calls everything here. While the committer thread commits batch k, batch k+1 is decoded and scored; its
records are produced only after k's were flushed, so that batches never overtake each other in an output partition.
"""

from collections.abc import Callable, Sequence

import msgspec
import structlog
from confluent_kafka import KafkaException, Producer

from scoring.service.ending import MustExit
from scoring.worker.committer import CALL_TIMEOUT_S, Committer, Event, Result, Stage, Transaction, produce, untimed
from scoring.worker.delivery import Delivery
from scoring.worker.emit import Output
from scoring.worker.policy import BatchFailed, Remedy, because, kafka_error

log = structlog.get_logger()


class Pipeline:
    """The transactions in flight: at most one at the committer and one being produced.

    Args:
        producers: P0 and P1, both initialised.
        delivery: the calls that make a micro-batch final.
        abandoned: true gives up on calls that cannot get through, for a worker that was told to stop.
        beat: called while waiting, to say that this is a wait and no hang.
        timed: told how long flushing and committing a transaction took, in seconds.

    Attributes:
        committed: what the committer said of transactions that were committed since the loop last took note.
        aborted: how many transactions were aborted since the start.
    """

    def __init__(
        self,
        producers: tuple[Producer, Producer],
        delivery: Delivery,
        abandoned: Callable[[], bool],
        beat: Callable[[], None] = lambda: None,
        timed: Callable[[str, float], None] = untimed,
    ) -> None:
        self._producers = producers
        self._delivery = delivery
        self._abandoned = abandoned
        self._beat = beat
        self._committer = Committer(delivery, abandoned, timed=timed)
        self._submitted: list[Transaction] = []
        self._unflushed: Transaction | None = None
        self._open: Producer | None = None
        self._turn = 0
        self.committed: list[Event] = []
        self.aborted = 0

    def start(self) -> None:
        """Start the committer thread."""
        self._committer.start()

    @property
    def idle(self) -> bool:
        """Whether no transaction is in flight."""
        return not self._submitted and self._open is None

    @property
    def committing(self) -> bool:
        """Whether a transaction is at the committer."""
        return bool(self._submitted)

    def begin(self) -> Producer:
        """Begin a transaction on the producer whose turn it is, once the order of the output allows it.

        Raises:
            BatchFailed, MustExit: the transactions before it failed.
        """
        while self._unflushed is not None:  # B.4: k+1 is produced only after k was flushed
            self._wait()
        producer = self._producers[self._turn]
        while any(transaction.producer is producer for transaction in self._submitted):
            self._wait()
        try:
            self._delivery.begin(producer)
        except KafkaException as error:
            raise MustExit(f"a transaction cannot be begun: {because(error)}") from error
        self._open = producer
        return producer

    def produce(self, producer: Producer, outputs: Sequence[Output]) -> None:
        """Hand records to the client's queue, in order.

        Raises:
            BatchFailed, MustExit: the client refuses them.
        """
        try:
            produce(producer, outputs, self._wait_for_room)
        except KafkaException as error:
            raise _failure(error) from error

    def hand_over(self, transaction: Transaction) -> None:
        """Let the committer flush and commit; the other producer's turn is next.

        Raises:
            BatchFailed, MustExit: the client refuses an acknowledgement.
        """
        if self._delivery.together:
            self.produce(transaction.producer, transaction.acknowledgements)
            transaction = msgspec.structs.replace(transaction, acknowledgements=())
        self._open = None
        self._submitted.append(transaction)
        self._unflushed = transaction
        self._turn = 1 - self._turn
        self._committer.submit(transaction)

    def collect(self) -> None:
        """Take in what the committer has done, without waiting.

        Raises:
            BatchFailed, MustExit: a transaction failed; the caller recovers, or exits.
        """
        while (event := self._committer.event()) is not None:
            self._take(event)
        self._look_for_a_hang()
        self._delivering(self._delivery.look)

    def drain(self) -> None:
        """Wait until everything in flight is committed.

        Raises:
            BatchFailed, MustExit: as ``collect``.
        """
        while self._submitted:
            self._wait()
        if not self._delivering(lambda: self._delivery.drain(self._beat, self._abandoned)):
            raise MustExit("the broker does not answer; what was not committed is scored again")

    def abort(self) -> None:
        """Abort everything in flight (protocol B.5, B.6): what the committer has not committed, and what is open.

        Raises:
            MustExit: a transaction cannot be aborted.
        """
        self._committer.bounce()
        failed = [transaction.producer for transaction in self._await_all()]
        if self._open is not None:
            failed.append(self._open)
        for producer in failed:
            self._abort(producer)
        self._submitted.clear()
        self._unflushed = self._open = None
        self._committer.reset()

    def close(self) -> None:
        """End the committer thread."""
        self._committer.close()

    def _await_all(self) -> list[Transaction]:
        """Wait for the last word on every submitted transaction; returns those that were not committed."""
        failed: list[Transaction] = []
        for transaction in list(self._submitted):
            while (event := self._next_event()) is None or event.stage is Stage.FLUSHED:
                pass
            self._submitted.remove(transaction)  # its last event was taken: nobody may wait for it again
            if event.stage is Stage.COMMITTED:
                self._finish(event)
            elif event.must_exit:
                raise MustExit(f"a transaction cannot be ended: {because(event.error)}") from event.error
            else:
                failed.append(transaction)
        return failed

    def _abort(self, producer: Producer) -> None:
        while True:
            self._beat()
            try:
                self._delivery.abort(producer, CALL_TIMEOUT_S)
            except KafkaException as error:
                if self._delivery.remedy(kafka_error(error)) is not Remedy.REPEAT or self._abandoned():
                    raise MustExit(f"a transaction cannot be aborted: {because(error)}") from error
            else:
                self.aborted += 1
                return

    def _wait_for_room(self) -> None:
        """The client's queue is full, which it stays while the broker is away."""
        self._beat()
        if self._abandoned():
            raise BatchFailed("the client's queue stays full, and this worker was told to stop")

    def _wait(self) -> None:
        event = self._next_event()
        if event is not None:
            self._take(event)

    def _next_event(self) -> Event | None:
        self._beat()
        event = self._committer.event(CALL_TIMEOUT_S)
        if event is None:
            self._look_for_a_hang()
        return event

    def _look_for_a_hang(self) -> None:
        if self._committer.hung():
            raise MustExit("a call to the broker did not return; only a fresh process can go on")

    def _take(self, event: Event) -> None:
        if event.stage is Stage.FLUSHED:
            if self._unflushed is event.transaction:
                self._unflushed = None
            return
        self._submitted.remove(event.transaction)
        if event.stage is Stage.COMMITTED:
            self._finish(event)
            return
        if event.must_exit:
            raise MustExit(f"a transaction cannot be committed: {because(event.error)}") from event.error
        # What follows it has to be aborted too: the caller's next call is abort().
        self._abort(event.transaction.producer)
        raise BatchFailed(f"a transaction has to be aborted: {because(event.error)}") from event.error

    def _finish(self, event: Event) -> None:
        self._delivering(lambda: self._delivery.finish(event.transaction.offsets))
        self.committed.append(event)

    def _delivering(self, call: Callable[[], Result]) -> Result:
        try:
            return call()
        except KafkaException as error:
            raise _failure(error) from error


def _failure(error: KafkaException) -> BatchFailed | MustExit:
    """What a refused ``produce`` means: the transaction is lost, and where the client is fatal the process too."""
    if kafka_error(error).fatal():
        return MustExit(f"the client cannot go on: {because(error)}")
    return BatchFailed(f"a transaction has to be aborted: {because(error)}")
