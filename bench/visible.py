"""What a ``read_committed`` reader may see: how far it can read, how many records that is, and what they say."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

PARTITIONS = 4
ANSWER_S = 10.0
SCORE = re.compile(rb'"score": ?([^,}]+)')


class Sample(msgspec.Struct, frozen=True):
    """At a moment of the monotonic clock: offsets that may be read, processor time of the measured processes."""

    at_s: float
    end: int
    processor_s: float


class Counted(msgspec.Struct, frozen=True):
    """What is in a topic: records, offsets (records and markers of transactions), and checked scores."""

    records: int
    offsets: int
    checked: int
    wrong: int

    @property
    def share(self) -> float:
        """Records per offset."""
        return self.records / self.offsets if self.offsets else 0.0


class Ends:
    """Asks for the last stable offset, up to which a ``read_committed`` reader reads."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def __call__(self, topic: str) -> int:
        """The sum over the topic's partitions."""
        return sum(self.of(topic))

    def of(self, topic: str) -> list[int]:
        """Each partition's; a broker that is starved elects its leaders anew now and then, and is asked again."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                return self._asked(topic)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _asked(self, topic: str) -> list[int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): latest for number in range(PARTITIONS)}
        found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        by_number = {place.partition: future.result(ANSWER_S).offset for place, future in found.items()}
        return [by_number[number] for number in range(PARTITIONS)]

    def await_leaders(self, topic: str) -> None:
        """Until every partition of a new topic has its leader."""
        deadline = time.monotonic() + ANSWER_S
        while not self._leads(topic):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} has no leaders after {ANSWER_S:.0f} s")
            time.sleep(0.02)

    def _leads(self, topic: str) -> bool:
        try:
            self._asked(topic)
        except KafkaException:
            return False
        return True


def watch(
    end: Callable[[], int],
    processor_s: Callable[[], float],
    enough: Callable[[int], bool],
    *,
    timeout_s: float,
    every_s: float = 0.03,
) -> list[Sample]:
    """Sample until there is enough, or for ``timeout_s``."""
    samples: list[Sample] = []
    deadline = time.monotonic() + timeout_s
    while True:
        visible = end()  # may take its time
        samples.append(Sample(time.monotonic(), visible, processor_s()))
        if enough(samples[-1].end) or samples[-1].at_s > deadline:
            return samples
        time.sleep(every_s)


def count(bootstrap: str, topic: str, scores: Mapping[bytes, float], *, timeout_s: float = 60.0) -> Counted:
    """Read a topic from its beginning to its end, and hold some of the scores against what they must be."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-count",
            "log_level": 0,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    records = checked = wrong = 0
    ends: dict[int, int] = {}
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        deadline = time.monotonic() + timeout_s
        while len(ends) < PARTITIONS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} could not be counted within {timeout_s:.0f} s")
            for message in consumer.consume(20_000, 0.2):
                error = message.error()
                if error is None:
                    records += 1
                    if records % 100 == 1:
                        checked += 1
                        wrong += not _right(message.key(), message.value(), scores)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public name for it
                    ends[message.partition() or 0] = message.offset() or 0
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
    return Counted(records, sum(ends.values()), checked, wrong)


def first_behind(
    bootstrap: str,
    topic: str,
    ends: Sequence[int],
    wanted: Callable[[bytes], bool] = lambda _: True,
    *,
    timeout_s: float = 60.0,
) -> bytes:
    """The value of the first wanted record behind these offsets, one per partition, as soon as it may be read."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-first",
            "log_level": 0,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.assign([TopicPartition(topic, number, offset) for number, offset in enumerate(ends)])
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            value = None if message is None or message.error() is not None else message.value()
            if value is not None and wanted(value):
                return value
    finally:
        consumer.close()
    raise TimeoutError(f"{topic}: nothing became visible within {timeout_s:.0f} s")


def _right(key: bytes | str | None, value: bytes | None, scores: Mapping[bytes, float]) -> bool:
    """Whether the record has the score that its key must have; where no scores are given, whatever it has."""
    if not scores:
        return True
    found = SCORE.search(value or b"")
    wanted = scores.get(key if isinstance(key, bytes) else b"")
    return found is not None and wanted is not None and abs(float(found.group(1)) - wanted) < 1e-12


def at(samples: Iterable[Sample], offsets: float) -> Sample:
    """The first sample by which so many offsets could be read."""
    return next(sample for sample in samples if sample.end >= offsets)
