"""What a rebalance must not cost: the process, or a second in which nobody answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, Producer, TopicPartition

from local.kafka.broker import Broker
from scoring.worker.delivery import ExactlyOnce
from scoring.worker.offsets import GroupOffsets
from tests.support.arena import read_all, wait_until
from tests.support.ground import Ground

pytestmark = pytest.mark.integration

ROUNDS = 60


@pytest.fixture
def producer(broker: Broker) -> Producer:
    made = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"t-{uuid4().hex}", "log_level": 0})
    made.init_transactions(20)
    return made


def commit_then_begin(producer: Producer, topic: str) -> None:
    """One record that is committed, and right behind it the first one of a transaction that is not."""
    for text in (b"committed", b"aborted"):
        producer.begin_transaction()
        producer.produce(topic, text)
        if text == b"committed":
            producer.commit_transaction(20)


def test_a_transaction_that_was_begun_right_behind_a_commit_can_be_aborted(ground: Ground, producer: Producer) -> None:
    for _ in range(ROUNDS):
        commit_then_begin(producer, ground.topics.predictions)
        ExactlyOnce().abort(producer, 5.0)
    values = [record.value for record in read_all(ground.bootstrap, ground.topics.predictions)]
    assert values == [b"committed"] * ROUNDS


@contextmanager
def member(ground: Ground, **settings: Any) -> Iterator[Consumer]:
    """A further member of the workers' group."""
    common = {"bootstrap.servers": ground.bootstrap, "group.id": ground.group, "enable.auto.commit": False}
    made = Consumer({**common, "partition.assignment.strategy": "cooperative-sticky", "log_level": 0, **settings})
    made.subscribe([ground.topics.input])
    yield made
    made.close()


def is_joining(ground: Ground, asking: Consumer) -> bool:
    """Whether the group waits for its members to join again, as one of them has asked it to."""
    asking.poll(0.1)
    state = ground.admin.describe_consumer_groups([ground.group])[ground.group].result(20).state
    return bool(state == ConsumerGroupState.PREPARING_REBALANCING)


def test_committed_offsets_can_be_read_while_a_member_waits_for_others_to_join(ground: Ground) -> None:
    place = TopicPartition(ground.topics.input, 1)
    common = {"bootstrap.servers": ground.bootstrap, "group.id": ground.group, "isolation.level": "read_committed"}
    offsets = GroupOffsets(Consumer(common))
    # It hears of the other one's wish to join only seconds later.
    with member(ground, **{"heartbeat.interval.ms": 8_000, "session.timeout.ms": 10_000}) as slow:
        while not slow.assignment():
            slow.poll(0.1)
        slow.commit(offsets=[TopicPartition(place.topic, 1, 7, metadata="m")], asynchronous=False)
        with member(ground) as waiting:
            wait_until(lambda: is_joining(ground, waiting), 5, "it does not ask to join")
            with pytest.raises(KafkaException, match="_TIMED_OUT"):
                waiting.committed([place], 0.5)
            nothing = TopicPartition(place.topic, 2)
            found = offsets.committed([nothing, place], 3.0)
            assert waiting.assignment() == []
    offsets.close()
    assert [(at.partition, at.offset, at.metadata) for at in found] == [(2, -1001, None), (1, 7, "m")]
