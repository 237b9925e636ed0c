"""Takes records from the consumer: what is there, and a little more, within bounds."""

# ruff: noqa: SLF001 - the names of the client's own error codes begin with an underscore

import time
from collections.abc import Callable

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, Message

from scoring.kafka import headers_of
from scoring.service.ending import MustExit
from scoring.sink.partitions import Place

WAIT_S = 0.1
# After the first record so long for more: a commit for each record of a stream would cost more than it gives.
LINGER_S = 0.02
SLICE_RECORDS = 500
MAXIMUM_BYTES = 16 * 2**20
_FENCED = {KafkaError._FATAL, KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID}
_OUT_OF_RANGE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
log = structlog.get_logger()


class Taken(msgspec.Struct):
    """What was taken at a time.

    Attributes:
        messages: records, per partition in order.
        ends: partitions that were read to their end, with the offset behind it (which counts transactions' markers).
        astray: partitions that stand where the topic has nothing, any more or yet.
    """

    messages: list[Message] = msgspec.field(default_factory=list)
    ends: dict[Place, int] = msgspec.field(default_factory=dict)
    astray: set[Place] = msgspec.field(default_factory=set)
    size_bytes: int = 0


class Intake:
    """Reads a consumer.

    Args:
        maximum_records: so many are taken at a time at the most.
    """

    def __init__(self, consumer: Consumer, maximum_records: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._maximum_records = maximum_records
        self._clock_s = clock_s

    def take(self) -> Taken:
        """The next records; nothing where none came within a tenth of a second.

        Raises:
            MustExit: the client cannot go on.
        """
        taken = Taken()
        self._add(taken, self._consumer.poll(WAIT_S))
        until_s = self._clock_s() + LINGER_S
        while (taken.messages or taken.ends) and not self._full(taken):
            more = self._consumer.consume(min(SLICE_RECORDS, self._maximum_records - len(taken.messages)), 0.0)
            for message in more:
                self._add(taken, message)
            if not more:
                left_s = until_s - self._clock_s()
                if left_s <= 0:
                    break
                self._add(taken, self._consumer.poll(left_s))
        return taken

    def _full(self, taken: Taken) -> bool:
        return len(taken.messages) >= self._maximum_records or taken.size_bytes >= MAXIMUM_BYTES

    def _add(self, taken: Taken, message: Message | None) -> None:
        if message is None:
            return
        error = message.error()
        if error is None:
            taken.messages.append(message)
            taken.size_bytes += size_bytes(message)
            return
        place = (message.topic() or "", message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:
            taken.ends[place] = message.offset() or 0
        elif error.code() in _OUT_OF_RANGE:
            taken.astray.add(place)
        elif error.fatal() or error.code() in _FENCED:
            raise MustExit(
                f"{error.str()} ({error.name()}); most often another sink runs in this slot: give one of them another "
                "--slot"
            )
        else:
            log.info("kafka.error", error=error.str(), code=error.name())


def size_bytes(message: Message) -> int:
    """What a record holds: a dead letter without a value may have headers as large as another's value."""
    headers = sum(len(name) + len(content or b"") for name, content in headers_of(message))
    return len(message) + len(message.key() or b"") + headers
