"""At least once: which offsets the hot thread sends, and what it makes of the broker's answers. How a transaction is
aborted.
"""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from scoring.worker.delivery import AtLeastOnce, ExactlyOnce
from tests.support.simulated_kafka import SimulatedBroker

PLACES = [("small.input", 0), ("small.input", 1)]


def careless(broker: SimulatedBroker) -> tuple[Any, AtLeastOnce]:
    consumer = broker.consumer()
    consumer.positions.update(dict.fromkeys(PLACES, 0))
    return consumer, AtLeastOnce(consumer.made)


def offsets(reached: int) -> list[TopicPartition]:
    return [TopicPartition(*place, reached, metadata="") for place in PLACES]


def away(broker: SimulatedBroker, code: int = KafkaError._TRANSPORT) -> None:
    broker.failures["consumer.commit"] = [KafkaException(KafkaError(code))]


def test_after_an_outage_offsets_are_sent_again() -> None:
    broker = SimulatedBroker()
    consumer, delivery = careless(broker)
    away(broker)
    delivery.finish(offsets(4))
    consumer.poll(0.0)
    assert broker.committed == {}
    delivery.look()
    assert {place: offset for place, (offset, _) in broker.committed.items()} == dict.fromkeys(PLACES, 4)


def test_the_offset_of_a_partition_that_went_is_not_sent_again() -> None:
    """Its new owner has gone on since."""
    broker = SimulatedBroker()
    consumer, delivery = careless(broker)
    away(broker)
    delivery.finish(offsets(4))
    del consumer.positions[PLACES[0]]
    broker.committed[PLACES[0]] = (9, "")
    consumer.poll(0.0)
    delivery.look()
    assert {place: offset for place, (offset, _) in broker.committed.items()} == {PLACES[0]: 9, PLACES[1]: 4}


def test_a_refusal_is_raised_once_and_nothing_stays_under_way() -> None:
    broker = SimulatedBroker()
    consumer, delivery = careless(broker)
    away(broker, KafkaError.ILLEGAL_GENERATION)
    delivery.finish(offsets(4))
    consumer.poll(0.0)
    with pytest.raises(KafkaException):
        delivery.look()
    delivery.look()
    assert delivery.drain(lambda: None, lambda: False)
    assert broker.committed == {}


def test_draining_waits_for_the_broker_and_gives_up_when_told() -> None:
    broker = SimulatedBroker()
    _, delivery = careless(broker)
    delivery.finish(offsets(4))
    beats: list[int] = []
    assert delivery.drain(lambda: beats.append(1), lambda: False)
    assert beats
    delivery.finish(offsets(5))
    assert not delivery.drain(lambda: None, lambda: True)


def test_a_transaction_is_aborted_once_its_records_are_at_the_broker_which_knows_of_it_then() -> None:
    broker = SimulatedBroker()
    producer, _ = broker.producers()
    delivery = ExactlyOnce()
    delivery.begin(producer)
    delivery.abort(producer, 5.0)
    assert broker.calls == ["p0.begin", "p0.flush", "p0.abort"]


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError._FENCED)), SystemError("an exception was set")])
def test_what_keeps_records_from_the_broker_does_not_keep_their_transaction_from_being_aborted(
    error: Exception,
) -> None:
    broker = SimulatedBroker()
    producer, _ = broker.producers()
    broker.failures["p0.flush"] = [error]
    ExactlyOnce().abort(producer, 5.0)
    assert broker.calls == ["p0.flush", "p0.abort"]
