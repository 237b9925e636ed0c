"""The replay and the reader of whole topics, on a real broker."""

import json
import threading
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from local.demo.oracle import judge, prediction_outcome
from local.demo.records import Unreadable, read_topic
from local.demo.watch import Watcher
from local.kafka.broker import Broker
from local.replay import Message, NotDelivered, Position, Replay, steady
from tests.support.broker import MakeTopic

pytestmark = pytest.mark.integration


@pytest.fixture
def kafka(broker: Broker) -> dict[str, Any]:
    return {"bootstrap.servers": broker.bootstrap}


def messages(count: int) -> list[Message]:
    return [Message(f"k{n % 7}".encode(), json.dumps({"n": n}).encode(), float(n)) for n in range(count)]


def predict(producer: Producer, topic: str, source: str, *, partition: int, offset: int, identity: str) -> None:
    document = {
        "version": "1",
        "sequence": 1,
        "input": {"topic": source, "partition": partition, "offset": offset},
        "pass_through": {},
    }
    headers: list[tuple[str, str | bytes | None]] = [("correlation-id", identity.encode())]
    producer.produce(topic, json.dumps(document).encode(), b"k", partition=partition, headers=headers)


def test_every_record_arrives_once_in_order_per_key_with_an_identity_of_its_own(
    kafka: dict[str, Any], make_topic: MakeTopic
) -> None:
    topic = make_topic(partitions=4)
    replay = Replay(kafka, topic, messages(500), run_id="r")
    assert replay.run(steady(50_000)) == 500
    found = read_topic(kafka, topic)
    assert len({record.header("correlation-id") for record in found}) == len(found) == 500
    for key in {record.key for record in found}:
        mine = [record for record in found if record.key == key]
        assert len({record.partition for record in mine}) == 1
        numbers = [json.loads(record.value or b"")["n"] for record in mine]
        assert numbers == sorted(numbers)
    assert (replay.position.sent, replay.position.event_s) == (500, 499.0)


def test_the_pace_is_kept_and_can_change_on_the_way(kafka: dict[str, Any], make_topic: MakeTopic) -> None:
    replay, seen = Replay(kafka, make_topic(), messages(300), run_id="r"), list[Position]()

    def pace(position: Position) -> float:
        seen.append(position)
        return 100.0 if position.sent < 100 else 10_000.0

    replay.run(pace)
    slow_s = next(position.elapsed_s for position in seen if position.sent >= 100)
    assert slow_s > 0.9
    # Twice as many records as before, in less time than those took, however busy the machine is.
    assert replay.position.elapsed_s - slow_s < slow_s


def test_a_replay_can_be_stopped_and_tells_what_was_sent(kafka: dict[str, Any], make_topic: MakeTopic) -> None:
    topic = make_topic()
    replay = Replay(kafka, topic, messages(100_000), run_id="r")
    sent: list[int] = []
    thread = threading.Thread(target=lambda: sent.append(replay.run(steady(1_000))))
    thread.start()
    replay.stop()
    thread.join(20)
    assert len(read_topic(kafka, topic)) == sent[0] < 100_000


def test_a_record_that_the_broker_refuses_is_an_error(kafka: dict[str, Any], make_topic: MakeTopic) -> None:
    topic = make_topic("small", partitions=1, **{"max.message.bytes": "1000"})
    with pytest.raises(NotDelivered, match="of 1 records 0 were acknowledged"):
        Replay(kafka, topic, [Message(b"k", b"x" * 5_000)], run_id="r").run(steady(100))


def test_the_reader_sees_nothing_of_an_aborted_transaction(
    kafka: dict[str, Any], make_topic: MakeTopic, unique_name: Any
) -> None:
    source, topic = make_topic("input"), make_topic("predictions")
    Replay(kafka, source, messages(2), run_id="r").run(steady(1_000))
    producer = Producer({**kafka, "transactional.id": unique_name("txn")})
    producer.init_transactions(20)
    for identity, commit in (("r-000000", True), ("r-000001", False), ("r-000001", True)):
        producer.begin_transaction()
        predict(producer, topic, source, partition=0, offset=int(identity[-1]), identity=identity)
        producer.flush(20)
        if commit:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)
    inputs, outcomes = read_topic(kafka, source), [prediction_outcome(r) for r in read_topic(kafka, topic)]
    found = judge(source, inputs, outcomes, sent=2)
    assert (found.lost, found.duplicated, found.predictions) == ((), (), 2)


def test_an_open_transaction_is_not_overlooked(kafka: dict[str, Any], make_topic: MakeTopic, unique_name: Any) -> None:
    topic = make_topic()
    producer = Producer({**kafka, "transactional.id": unique_name("txn")})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"1", b"k")
    producer.flush(20)
    with pytest.raises(Unreadable, match="open transaction"):
        read_topic(kafka, topic, limit_s=1.5)
    producer.commit_transaction(20)
    assert len(read_topic(kafka, topic)) == 1


def test_a_topic_that_is_not_there_cannot_be_read(kafka: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="no-such-topic"):
        read_topic(kafka, "no-such-topic")


def test_the_watcher_counts_predictions_by_sequence_as_they_come(kafka: dict[str, Any], make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    producer = Producer(kafka)
    with Watcher(kafka, topic, 2) as watcher:
        for number in range(10):
            predict(producer, topic, "i", partition=number % 2, offset=number, identity=str(number))
        producer.flush(20)
        assert watcher.wait_for(lambda: watcher.total == 10, 20)
        assert (watcher.sequence, watcher.count(1), watcher.count(2)) == (1, 10, 0)


def test_no_reader_joins_a_group(kafka: dict[str, Any], make_topic: MakeTopic) -> None:
    topic = make_topic()
    Replay(kafka, topic, messages(3), run_id="r").run(steady(1_000))
    read_topic(kafka, topic)
    consumer = Consumer({**kafka, "group.id": "baton-demo-reader", "enable.auto.commit": False})
    from confluent_kafka import TopicPartition

    assert [p.offset for p in consumer.committed([TopicPartition(topic, 0)], timeout=10)] == [-1001]
    consumer.close()
