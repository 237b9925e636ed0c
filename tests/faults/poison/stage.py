"""Poison through the real worker on the real broker: feed, wait, collect every outcome."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from local.kafka.broker import Broker
from tests.faults.poison.judge import Judged, judge
from tests.faults.poison.records import PARTITIONS, SCHEMA, Sent
from tests.support.arena import POLL_S, Record, _record, read_all, wait_until
from tests.support.ground import Ground

# Nobody is waited for that makes no progress for so long.
PATIENCE_S = 60.0
FOREVER = str(2**63 - 1)


class Outcomes:
    """Reads the two output topics as they grow, read_committed."""

    def __init__(self, ground: Ground) -> None:
        self.predictions: list[Record] = []
        self.letters: list[Record] = []
        self._ground = ground
        self._consumer = Consumer(
            {
                "bootstrap.servers": ground.bootstrap,
                "group.id": "poison-outcomes",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        topics = (ground.topics.predictions, ground.topics.dead_letters)
        self._consumer.assign([TopicPartition(topic, number, 0) for topic in topics for number in range(PARTITIONS)])

    @property
    def count(self) -> int:
        return len(self.predictions) + len(self.letters)

    def wait_for(self, count: int) -> None:
        """Read until there are so many outcomes, and a little longer: one too many is a fault too."""
        patient_until = time.monotonic() + PATIENCE_S
        while self.count < count:
            if self.take(0.2):
                patient_until = time.monotonic() + PATIENCE_S
            if time.monotonic() > patient_until:
                log = self._ground.log_of(0)[-3_000:]
                raise AssertionError(f"{self.count} of {count} records have an outcome\n{log}")
        while self.take(0.5):
            pass

    def take(self, wait_s: float) -> int:
        """Take in what has become visible; returns how many outcomes that were."""
        found = self._consumer.consume(5_000, wait_s)
        for message in found:
            assert message.error() is None, message.error()
            kept = self.letters if message.topic() == self._ground.topics.dead_letters else self.predictions
            kept.append(_record(message))
        return len(found)

    def close(self) -> None:
        self._consumer.close()

    def by_partition(self, records: Sequence[Record]) -> list[Record]:
        """In the order of their partitions, and within each in its own."""
        return sorted(records, key=lambda record: (record.partition, record.offset))


@contextmanager
def poisoned(broker: Broker, folder: Path, **variables: str) -> Iterator[tuple[Ground, Outcomes]]:
    """A stream whose model keeps the campaign's rules, with a worker that will score it."""
    folder.mkdir(parents=True)
    # Nobody starts the worker again where a machine that stands still for two seconds costs it its transaction.
    ground = Ground(broker.bootstrap, folder, session_timeout_ms=6_000)
    ground.variables = {
        "BATON_MAXIMUM_BATCH_RECORDS": "512",
        "BATON_BREAKER_SHARE": "0.9",
        "BATON_TRANSACTION_TIMEOUT_MS": "10000",
        **variables,
    }
    # What is sent again must not overtake what was sent first: offsets are known beforehand.
    ground._producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "enable.idempotence": True})
    # The records' timestamps are their event times: neither too old to be kept nor too new to be taken.
    ground.set(ground.topics.input, "retention.ms", "-1")
    ground.set(ground.topics.input, "message.timestamp.after.max.ms", FOREVER)
    ground.register_as(1, SCHEMA)
    ground.notify(1, 1)
    outcomes = Outcomes(ground)
    try:
        yield ground, outcomes
    finally:
        outcomes.close()
        ground.close()


def feed(ground: Ground, sent: Sequence[Sent]) -> None:
    """Produce the records as they are, in their order."""
    producer = ground._producer
    for record in sent:
        while True:
            try:
                producer.produce(
                    ground.topics.input,
                    record.value,
                    record.key,
                    record.partition,
                    timestamp=record.timestamp_ms,
                    headers=list(record.headers),
                )
                break
            except BufferError:
                producer.poll(POLL_S)
        producer.poll(0)
    ground.produced += len(sent)
    ground._flush()


def examined(ground: Ground, outcomes: Outcomes, sent: Sequence[Sent]) -> Judged:
    """Wait for every record's outcome, and judge them all."""
    outcomes.wait_for(len(sent))
    inputs = read_all(ground.bootstrap, ground.topics.input)
    ordered = (outcomes.by_partition(outcomes.predictions), outcomes.by_partition(outcomes.letters))
    return judge(sent, outcomes.by_partition(inputs), *ordered)


def records_per_s(outcomes: Outcomes) -> float:
    """How fast a backlog was scored, by the timestamps that the worker gave its outcomes; without the first tenth."""
    moments = sorted(record.timestamp_ms for record in (*outcomes.predictions, *outcomes.letters))
    rest = moments[len(moments) // 10 :]
    return len(rest) / max(0.001, (rest[-1] - rest[0]) / 1000.0)


def breaker_round(ground: Ground, outcomes: Outcomes, sent: Sequence[Sent]) -> dict[str, int]:
    """Nothing but hostile records: the worker stops taking them, says why, and none is lost."""
    feed(ground, sent)
    before = outcomes.count
    worker = ground.start()
    ground.wait_for_log("batch.put_back")
    ground.wait_for_status(lambda status: "dead letters" in str(status.get("reason")))
    while outcomes.take(0.5):
        pass
    taken = outcomes.count - before
    assert taken < len(sent), "the breaker let everything through"
    assert ground.stop(worker) == 0
    wait_until(ground.without_members, 60, "the group still has members")
    ground.variables["BATON_BREAKER_SHARE"] = "1"
    ground.start()
    return {"hostile": len(sent), "taken_before_it_opened": taken}
