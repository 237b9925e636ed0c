"""Turns of events of protocol B that the tests of the single modules do not come by."""

import json
import threading
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from local.kafka.broker import Broker
from scoring.settings import Settings
from scoring.worker import connections
from scoring.worker.assignment import Assignment
from scoring.worker.clients import consumer_settings, heartbeat_settings, producer_settings
from scoring.worker.committer import Transaction
from scoring.worker.delivery import ExactlyOnce
from scoring.worker.models import ModelTable
from scoring.worker.pipeline import Pipeline
from scoring.worker.process import Stop
from tests.support.arena import read_all, wait_until
from tests.support.broker import MakeTopic
from tests.support.simulated_kafka import SimulatedBroker
from tests.unit.worker.test_loop import WEATHER, Script, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def slot(bootstrap: str) -> Settings:
    return Settings(kafka_bootstrap=bootstrap, deployment=f"d{uuid4().hex[:8]}", slot=3, transaction_timeout_ms=10_000)


def producers(settings: Settings) -> tuple[Producer, Producer]:
    return Producer(producer_settings(settings, 0)), Producer(producer_settings(settings, 1))


# --- B.1 ----------------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_b1_a_predecessor_that_wakes_up_can_commit_under_neither_id(broker: Broker, make_topic: MakeTopic) -> None:
    topic, settings = make_topic("out"), slot(broker.bootstrap)
    before = producers(settings)
    for producer in before:
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(topic, b"of the predecessor")
        producer.flush(20)
    assert connections._initialised(producers(settings), Stop(), lambda: None)
    for producer in before:
        with pytest.raises(KafkaException):
            producer.commit_transaction(20)
    assert len(read_all(broker.bootstrap, topic, isolation="read_uncommitted")) == 2
    assert read_all(broker.bootstrap, topic) == []


@pytest.mark.integration
def test_b1_readers_and_the_next_owner_wait_for_a_slot_that_never_comes_back_no_longer_than_its_timeout(
    broker: Broker, make_topic: MakeTopic
) -> None:
    topic = make_topic("out")
    # Long enough for the first look, on a busy machine too; the client's own would be a minute.
    settings = slot(broker.bootstrap).model_copy(update={"transaction_timeout_ms": 6_000})
    gone = Producer(producer_settings(settings, 0))
    gone.init_transactions(20)
    gone.begin_transaction()
    gone.produce(topic, b"of a slot that never comes back")
    gone.flush(20)
    other = Producer({"bootstrap.servers": broker.bootstrap})
    other.produce(topic, b"everybody's later record")
    other.flush(20)
    assert read_all(broker.bootstrap, topic) == []
    wait_until(lambda: len(read_all(broker.bootstrap, topic)) == 1, 30, "the open transaction was not swept away")


def test_b1_no_transaction_is_left_open_for_longer_than_ten_seconds() -> None:
    options: dict[str, Any] = {"transaction.timeout.ms": 60_000}
    settings = Settings(kafka_bootstrap="b:1", kafka_options=options)
    assert producer_settings(settings, 0)["transaction.timeout.ms"] <= 10_000
    with pytest.raises(ValueError, match="transaction_timeout_ms"):
        Settings(transaction_timeout_ms=10_001)


# --- B.2 ----------------------------------------------------------------------------------------------------------


def test_b2_offsets_are_sent_under_the_assignment_under_which_their_records_were_consumed(stage: Stage) -> None:
    """A rebalance between the hand-over and the sending: with metadata of now, the broker would take the offsets."""
    poll = stage.consumer.poll
    consumed_under: list[int] = []

    def rebalances(timeout: float) -> Any:
        found = poll(timeout)
        if consumed_under and stage.consumer.generation > consumed_under[0] and not flushed.is_set():
            flushed.set()  # the committer goes on before the hot thread can tell it to give way
            wait_until(lambda: any("p0.send_offsets" in call for call in stage.broker.calls), 5, "nothing was sent")
        return found

    flushed = stage.broker.gates["p0.flush"] = threading.Event()
    vars(stage.consumer)["poll"] = rebalances

    def script(stage: Stage) -> Script:
        stage.feed(2)  # one micro-batch: a second one would wait for the flush
        stage.feed(2, partition=1)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: "p0.flush" in stage.broker.calls)
        consumed_under.append(stage.consumer.generation)
        stage.consumer.go(("small.input", 1))
        yield from stage.until(flushed.is_set)
        yield from stage.until(lambda: len(stage.predictions()) >= 2)

    stage.play(script)
    sent = [call for call in stage.broker.calls if call.startswith("p0.send_offsets")]
    assert sent[0] == f"p0.send_offsets generation {consumed_under[0]}"


# --- B.3 and B.4 --------------------------------------------------------------------------------------------------


def test_b3_offsets_are_those_of_the_batch_whatever_was_fetched_since(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.broker.gates["p0.send_offsets"] = gate = threading.Event()
        stage.feed(12)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: "p1.produce small.predictions" in stage.broker.calls)
        gate.set()
        yield from stage.until(lambda: len(stage.predictions()) == 12)

    watched = stage.broker.committed = Watched(stage)
    stage.play(script)
    assert len(watched.seen) >= 3
    assert all(offset == scored for offset, scored in watched.seen), watched.seen


class Watched(dict[Any, tuple[int, str]]):
    """Committed offsets; notes beside each how many predictions were visible at that moment."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []
        self._stage = stage

    def update(self, offsets: Any) -> None:  # type: ignore[override]
        self.seen += [(offset, len(self._stage.predictions())) for offset, _ in offsets.values()]
        super().update(offsets)


def test_b4_offsets_are_not_sent_before_the_commit_before_returned() -> None:
    broker = SimulatedBroker()
    pipeline = Pipeline(broker.producers(), ExactlyOnce(), lambda: False)
    pipeline.start()
    gate = broker.gates["p0.commit"] = threading.Event()
    for number in range(2):
        producer = pipeline.begin()
        pipeline.hand_over(Transaction(producer, [TopicPartition("in", 0, number + 1)], f"group {number}"))
    wait_until(lambda: "p0.commit" in broker.calls, 5, "the first batch never came to its commit")
    threading.Event().wait(0.05)  # nothing may happen in that time
    assert not any(call.startswith("p1.send_offsets") for call in broker.calls)
    gate.set()
    pipeline.drain()
    pipeline.close()
    assert broker.committed["in", 0][0] == 2


@pytest.mark.integration
def test_b4_the_coordinator_keeps_the_offset_that_was_sent_last_whatever_the_order_of_the_commits(
    broker: Broker, make_topic: MakeTopic
) -> None:
    """Why the order is the worker's business: the client and the broker do not keep it."""
    topic, settings = make_topic("in"), slot(broker.bootstrap)
    first, second = producers(settings)
    member = Consumer({**consumer_settings(settings), "session.timeout.ms": 6_000})
    member.subscribe([topic])
    wait_until(lambda: not member.poll(0.1) and bool(member.assignment()), 20, "no partition was assigned")
    for producer in (first, second):
        producer.init_transactions(20)
        producer.begin_transaction()
    group = member.consumer_group_metadata()
    second.send_offsets_to_transaction([TopicPartition(topic, 0, 20)], group, 20)
    first.send_offsets_to_transaction([TopicPartition(topic, 0, 10)], group, 20)
    first.commit_transaction(20)
    second.commit_transaction(20)
    (kept,) = member.committed([TopicPartition(topic, 0)], 20)
    member.close()
    assert kept.offset == 10


# --- B.5, B.6, B.7 ------------------------------------------------------------------------------------------------


def test_b5_a_partition_without_a_committed_offset_is_read_from_its_oldest_record(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.broker.oldest["small.input", 0] = 3
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 5)

    stage.play(script)
    seeks = [call for call in stage.broker.calls if call.startswith("consumer.seek")]
    assert seeks[0] == "consumer.seek small.input/0 3"
    assert not any("-1001" in call for call in seeks)


def test_b6_the_callbacks_make_no_call_that_could_wait_for_the_broker() -> None:
    class OnlyLocal:
        """The calls that the client answers by itself."""

        def incremental_assign(self, places: object) -> None: ...
        def incremental_unassign(self, places: object) -> None: ...
        def pause(self, places: object) -> None: ...
        def memberid(self) -> str:
            return "somebody"

    consumer = cast("Consumer", OnlyLocal())
    assignment = Assignment(
        consumer, ModelTable(), cast("Any", None), cast("Any", None), lambda _model, _sequence: False
    )
    assignment._on_assign(consumer, [TopicPartition("in", 0)])
    assignment._on_revoke(consumer, [TopicPartition("in", 0)])
    assignment._on_revoke(consumer, [TopicPartition("in", 0)])
    assert assignment.partitions.rebalanced


# --- more that must not be ----------------------------------------------------------------------------------------


def test_no_micro_batch_mixes_versions(stage: Stage) -> None:
    """A version that is ready in the middle of a micro-batch scores none of its records."""
    resolve = stage.lookups.resolve

    def brings(*arguments: Any) -> Any:
        if stage.predictions() and not came.is_set():
            came.set()
            stage.arrivals.put(stage.active(2, lookups=(WEATHER,)))
        return resolve(*arguments)

    came = threading.Event()
    vars(stage.lookups)["resolve"] = brings

    def script(stage: Stage) -> Script:
        stage.arrivals.put(stage.active(1, lookups=(WEATHER,)))
        stage.feed(40)
        yield from stage.until(lambda: len(stage.predictions()) == 40)

    batches: list[set[int]] = []
    add = stage.pipeline.produce

    def produced(producer: Any, outputs: Any) -> None:
        sequences = {_sequence(output.value) for output in outputs if output.topic == "small.predictions"}
        batches.append(sequences)
        add(producer, outputs)

    vars(stage.pipeline)["produce"] = produced
    stage.play(script)
    assert came.is_set()
    assert all(len(sequences) <= 1 for sequences in batches), batches
    assert {1, 2} == set().union(*batches)


def _sequence(value: bytes) -> int:
    found: int = json.loads(value)["sequence"]
    return found


@pytest.mark.integration
def test_heartbeats_are_no_part_of_a_transaction(broker: Broker, make_topic: MakeTopic) -> None:
    topic, settings = make_topic("workers"), slot(broker.bootstrap)
    assert "transactional.id" not in heartbeat_settings(settings)
    working, _ = producers(settings)
    working.init_transactions(20)
    working.begin_transaction()  # a micro-batch is on its way for as long as it takes
    working.produce(make_topic("out"), b"p")
    working.flush(20)
    beating = Producer(heartbeat_settings(settings))
    beating.produce(topic, b"beat")
    assert beating.flush(20) == 0
    assert len(read_all(broker.bootstrap, topic)) == 1
    working.abort_transaction(20)
