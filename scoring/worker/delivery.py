"""How a micro-batch becomes final: in one transaction (exactly once), or flushed before its offsets (at least once).

Exactly once is the default and costs little; at least once has the lowest latency, and scores some records again after
a failure. Pipeline, committer and loop are the same for both (protocol A.10, B.4).
"""

from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from scoring.worker.emit import Output
from scoring.worker.policy import Remedy, remedy

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
    """The calls that differ. All but ``begin`` and ``abort`` are made by the committer's thread."""

    bounded: bool
    """Whether each call returns within its timeout; one that does not hangs, and ends the process."""

    def begin(self, producer: Producer) -> None:
        """Before the first record of a micro-batch."""

    def travelling(self, acknowledgements: Sequence[Output]) -> Sequence[Output]:
        """The acknowledgements that are produced together with the outputs."""

    def following(self, acknowledgements: Sequence[Output]) -> Sequence[Output]:
        """Those that are produced after the outputs were flushed."""

    def check(self, producer: Producer) -> None:
        """After a flush: raise KafkaException where a record was not delivered."""

    def send_offsets(self, producer: Producer, offsets: list[TopicPartition], group: Any, timeout_s: float) -> None:
        """Make the offsets part of what is committed."""

    def commit(self, producer: Producer, offsets: list[TopicPartition], timeout_s: float) -> None:
        """Make everything final."""

    def abort(self, producer: Producer, timeout_s: float) -> None:
        """Take back what can be taken back."""

    def remedy(self, error: KafkaError) -> Remedy:
        """What to do about a failed call."""


class ExactlyOnce:
    """One transaction per micro-batch: outputs, acknowledgements and offsets become visible together or not at all."""

    bounded = True

    def begin(self, producer: Producer) -> None:
        """See ``Delivery``."""
        producer.begin_transaction()

    def travelling(self, acknowledgements: Sequence[Output]) -> Sequence[Output]:
        """All of them: so the swap's offset is exact, and an abort takes it back."""
        return acknowledgements

    def following(self, acknowledgements: Sequence[Output]) -> Sequence[Output]:  # noqa: ARG002
        """None."""
        return ()

    def check(self, producer: Producer) -> None:
        """Nothing: a record that was not delivered makes the commit fail."""

    def send_offsets(self, producer: Producer, offsets: list[TopicPartition], group: Any, timeout_s: float) -> None:
        """See ``Delivery``."""
        if offsets:
            producer.send_offsets_to_transaction(offsets, group, timeout_s)

    def commit(self, producer: Producer, offsets: list[TopicPartition], timeout_s: float) -> None:  # noqa: ARG002
        """See ``Delivery``."""
        producer.commit_transaction(timeout_s)

    def abort(self, producer: Producer, timeout_s: float) -> None:
        """See ``Delivery``."""
        producer.abort_transaction(timeout_s)

    def remedy(self, error: KafkaError) -> Remedy:
        """By the error's flags (protocol B.5)."""
        return remedy(error)


class AtLeastOnce:
    """Outputs are flushed, then the acknowledgements, then the offsets are committed with their metadata.

    Args:
        consumer: the group member whose offsets are committed.
    """

    bounded = False  # the client's commit takes no timeout

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._undelivered: KafkaError | None = None

    def begin(self, producer: Producer) -> None:  # noqa: ARG002
        """Forget what failed before: nothing of it is under way any more, and it is scored again."""
        self._undelivered = None

    def travelling(self, acknowledgements: Sequence[Output]) -> Sequence[Output]:  # noqa: ARG002
        """None."""
        return ()

    def following(self, acknowledgements: Sequence[Output]) -> Sequence[Output]:
        """All of them: what they say must be on the broker before."""
        return acknowledgements

    def report(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002
        """Note a record that the client gave up on; the client's delivery reports call this."""
        self._undelivered = self._undelivered or error

    def check(self, producer: Producer) -> None:  # noqa: ARG002
        """See ``Delivery``."""
        if self._undelivered is not None:
            raise KafkaException(self._undelivered)

    def send_offsets(self, producer: Producer, offsets: list[TopicPartition], group: Any, timeout_s: float) -> None:
        """Nothing: they are committed after everything else."""

    def commit(self, producer: Producer, offsets: list[TopicPartition], timeout_s: float) -> None:  # noqa: ARG002
        """Commit the offsets; the broker refuses them from a member whose assignment has changed."""
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=False)

    def abort(self, producer: Producer, timeout_s: float) -> None:
        """Drop what is still in the client's queue."""
        producer.purge(in_flight=False)
        producer.flush(timeout_s)

    def remedy(self, error: KafkaError) -> Remedy:
        """Nothing is open at the broker, so going back is always possible; outages are waited for."""
        if error.fatal():
            return Remedy.EXIT
        return Remedy.REPEAT if error.code() in _PASSING else Remedy.ABORT
