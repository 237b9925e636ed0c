"""The broker that the tests run on."""

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer

from local.errors import BrokerError
from local.kafka.broker import Broker
from tests.support.broker import MakeTopic

pytestmark = pytest.mark.integration


def _produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def _read(bootstrap: str, topic: str, group: str) -> bytes | None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        return message.value() if message is not None and message.error() is None else None
    finally:
        consumer.close()


def test_a_record_goes_through_a_topic_of_the_tests_own(
    broker: Broker, make_topic: MakeTopic, unique_name: Callable[[str], str]
) -> None:
    topic = make_topic("input", partitions=1, **{"max.message.bytes": "2000"})
    _produce(broker.bootstrap, topic, b"hello")
    assert _read(broker.bootstrap, topic, unique_name("group")) == b"hello"


def test_two_topics_of_one_name_are_two_topics(make_topic: MakeTopic) -> None:
    assert make_topic("input") != make_topic("input")


def test_records_survive_a_killed_broker(own_broker: Broker, unique_name: Callable[[str], str]) -> None:
    from tests.support.broker import create_topic

    create_topic(own_broker.bootstrap, "kept")
    _produce(own_broker.bootstrap, "kept", b"hello")
    own_broker.kill()
    assert not own_broker.running
    own_broker.start()
    assert _read(own_broker.bootstrap, "kept", unique_name("group")) == b"hello"
    own_broker.restart()
    assert own_broker.running


def test_a_broker_that_runs_is_not_started_twice(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="is running already"):
        broker.start()
