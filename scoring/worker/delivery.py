"""How a micro-batch becomes final: in one transaction (exactly once), or flushed before its offsets (at least once).

Exactly once is the default and costs little; at least once has the lowest latency, and scores some records again after
a failure. Pipeline, committer and loop are the same for both (protocol A.10, B.4).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from scoring.worker.policy import Remedy, remedy

_POLL_S = 0.05
# How long an abort waits for the records to be at the broker, at the most.
_REGISTERED_S = 1.0
_PASSING = {
    KafkaError._TIMED_OUT,  # noqa: SLF001  # the client's public names for its own errors
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._WAIT_COORD,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REQUEST_TIMED_OUT,
}


class Delivery(Protocol):
    """The calls that differ.

    The committer's thread makes those between ``check`` and ``commit``, the hot thread all others. Each returns within
    its timeout; one that does not hangs, and ends the process.

    Attributes:
        together: acknowledgements are produced together with the outputs, and not only once these were flushed.
    """

    together: bool

    def begin(self, producer: Producer) -> None:
        """Before the first record of a micro-batch."""

    def check(self, producer: Producer) -> None:
        """After a flush: raise KafkaException where a record was not delivered."""

    def send_offsets(self, producer: Producer, offsets: list[TopicPartition], group: Any, timeout_s: float) -> None:
        """Make the offsets part of what is committed."""

    def commit(self, producer: Producer, offsets: list[TopicPartition], timeout_s: float) -> None:
        """Make everything final that the producer sent."""

    def finish(self, offsets: Sequence[TopicPartition]) -> None:
        """After ``commit``, in the order of the micro-batches."""

    def look(self) -> None:
        """Raise KafkaException where what was finished has failed after all."""

    def drain(self, beat: Callable[[], None], abandoned: Callable[[], bool]) -> bool:
        """Wait until everything finished is at the broker; false where that was given up."""

    def abort(self, producer: Producer, timeout_s: float) -> None:
        """Take back what can be taken back."""

    def remedy(self, error: KafkaError) -> Remedy:
        """What to do about a failed call."""


class ExactlyOnce:
    """One transaction per micro-batch: outputs, acknowledgements and offsets become visible together or not at all."""

    together = True  # so the swap's offset is exact, and an abort takes it back

    def begin(self, producer: Producer) -> None:
        """See ``Delivery``."""
        producer.begin_transaction()

    def check(self, producer: Producer) -> None:
        """Nothing: a record that was not delivered makes the commit fail."""

    def send_offsets(self, producer: Producer, offsets: list[TopicPartition], group: Any, timeout_s: float) -> None:
        """See ``Delivery``."""
        if offsets:
            producer.send_offsets_to_transaction(offsets, group, timeout_s)

    def commit(self, producer: Producer, offsets: list[TopicPartition], timeout_s: float) -> None:  # noqa: ARG002
        """See ``Delivery``."""
        producer.commit_transaction(timeout_s)

    def finish(self, offsets: Sequence[TopicPartition]) -> None:
        """Nothing: the transaction held them."""

    def look(self) -> None:
        """Nothing: the commit said so."""

    def drain(self, beat: Callable[[], None], abandoned: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Nothing is under way."""
        return True

    def abort(self, producer: Producer, timeout_s: float) -> None:
        """See ``Delivery``.

        What was begun right behind a commit is yet to be registered with the coordinator, which is still at that
        commit (CONCURRENT_TRANSACTIONS). To abort it then is an invalid state to the broker, and fatal to the client
        (seen with Kafka 4.2 and librdkafka 2.16). Once the records are there it is registered, and they go with it.
        """
        # A client that was fenced says so out of a callback, sometimes in the middle of the one for its log; the abort
        # says it too.
        with suppress(KafkaException, SystemError):
            producer.flush(min(_REGISTERED_S, timeout_s))
        producer.abort_transaction(timeout_s)

    def remedy(self, error: KafkaError) -> Remedy:
        """By the error's flags (protocol B.5)."""
        return remedy(error)


class AtLeastOnce:
    """Outputs are flushed, then the acknowledgements, then the offsets are committed with their metadata.

    The hot thread commits, without waiting: the client lets one thread at a time call a consumer, so that a commit from
    another thread starves behind the polls. What the broker said comes back with one of the next polls.

    Args:
        make_consumer: makes the group member whose offsets are committed, with what is added to its settings.

    Attributes:
        consumer: that member.
    """

    together = False  # what they say must be on the broker before

    def __init__(self, make_consumer: Callable[[dict[str, Any]], Consumer]) -> None:
        self._undelivered: KafkaError | None = None
        self._refused: KafkaError | None = None
        self._under_way: dict[tuple[str, int], TopicPartition] = {}
        self.consumer = make_consumer({"on_commit": self._told})

    def begin(self, producer: Producer) -> None:  # noqa: ARG002
        """Forget what failed before: nothing of it is under way any more, and it is scored again."""
        self._undelivered = None

    def report(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002
        """Note a record that the client gave up on; the client's delivery reports call this."""
        self._undelivered = self._undelivered or error

    def check(self, producer: Producer) -> None:  # noqa: ARG002
        """See ``Delivery``."""
        if self._undelivered is not None:
            raise KafkaException(self._undelivered)

    def send_offsets(self, producer: Producer, offsets: list[TopicPartition], group: Any, timeout_s: float) -> None:
        """Nothing: they are committed after everything else."""

    def commit(self, producer: Producer, offsets: list[TopicPartition], timeout_s: float) -> None:
        """Nothing: what was flushed is final."""

    def finish(self, offsets: Sequence[TopicPartition]) -> None:
        """Send the offsets of the partitions that are still ours: another member's must not be put back."""
        ours = {(place.topic, place.partition) for place in self.consumer.assignment()}
        owned = [offset for offset in offsets if (offset.topic, offset.partition) in ours]
        if owned:
            self._under_way.update({(offset.topic, offset.partition): offset for offset in owned})
            self.consumer.commit(offsets=owned, asynchronous=True)

    def look(self) -> None:
        """See ``Delivery``; an outage is passed over by sending again."""
        error, self._refused = self._refused, None
        if error is None:
            return
        if error.fatal() or error.code() not in _PASSING:
            self._under_way.clear()  # what is not committed is scored again
            raise KafkaException(error)
        again = list(self._under_way.values())
        self._under_way.clear()
        self.finish(again)

    def drain(self, beat: Callable[[], None], abandoned: Callable[[], bool]) -> bool:
        """See ``Delivery``. Records that come meanwhile are dropped: the caller goes back to the committed offsets."""
        while self._under_way and not abandoned():
            beat()
            self.consumer.poll(_POLL_S)
            self.look()
        return not self._under_way

    def _told(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        """What became of a commit. The client calls this out of a poll, and it must not raise."""
        error = error or next((offset.error for offset in offsets if offset.error is not None), None)
        if error is not None:
            self._refused = error
            return
        for offset in offsets:
            known = self._under_way.get((offset.topic, offset.partition))
            if known is not None and known.offset <= offset.offset:
                del self._under_way[offset.topic, offset.partition]

    def abort(self, producer: Producer, timeout_s: float) -> None:
        """Drop what is still in the client's queue."""
        self._under_way.clear()
        self._refused = None
        producer.purge(in_flight=False)
        producer.flush(timeout_s)

    def remedy(self, error: KafkaError) -> Remedy:
        """Nothing is open at the broker, so going back is always possible; outages are waited for."""
        if error.fatal():
            return Remedy.EXIT
        return Remedy.REPEAT if error.code() in _PASSING else Remedy.ABORT
