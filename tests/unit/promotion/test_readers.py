"""Readers and publishers of the control topics when Kafka's client has something to say; the client is a double."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from scoring import kafka
from scoring.contract.errors import Unavailable
from scoring.kafka import Tail
from scoring.promotion.publisher import Publisher


class Electing:
    """A consumer whose partition has no leader for the first few questions."""

    def __init__(self, failures: int, code: int = KafkaError.NOT_LEADER_FOR_PARTITION) -> None:
        self.failures = failures
        self.code = code
        self.assigned: list[TopicPartition] = []

    def get_watermark_offsets(self, _place: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        self.failures -= 1
        if self.failures >= 0:
            raise KafkaException(KafkaError(self.code))
        return 0, 7

    def poll(self, _timeout_s: float) -> None:
        return None

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = places


def tail(consumer: Electing, monkeypatch: pytest.MonkeyPatch, timeout_s: float = 30.0) -> Tail:
    monkeypatch.setattr(kafka, "require_topics", lambda *_: {})
    monkeypatch.setattr(kafka, "Consumer", lambda _: consumer)
    return Tail({}, {"baton.notices": None}, timeout_s)


def test_a_reader_asks_again_while_a_leader_is_being_elected(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Electing(failures=3)
    assert tail(consumer, monkeypatch).ends == {"baton.notices": 7}
    assert [place.topic for place in consumer.assigned] == ["baton.notices"]


def test_a_reader_does_not_wait_for_a_leader_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="opening a reader"):
        tail(Electing(failures=10**9), monkeypatch, timeout_s=0.01)


def test_a_reader_asks_no_second_time_after_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Electing(failures=10, code=KafkaError._TRANSPORT)
    with pytest.raises(Unavailable, match="opening a reader"):
        tail(consumer, monkeypatch)
    assert consumer.failures == 9


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError._FENCED)), SystemError("close returned")])
def test_closing_a_fenced_publisher_hides_nothing_and_raises_nothing(error: Exception) -> None:
    publisher = Publisher("small", {"bootstrap.servers": "127.0.0.1:1"}, topic="baton.notices", timeout_s=1.0)

    class Fenced:
        def close(self) -> None:
            raise error

    double: Any = Fenced()
    publisher._producer = double
    publisher.__exit__(None, None, None)
