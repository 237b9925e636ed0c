"""The intake: what is captured at the moment of consuming, and which records are left out."""

import pytest
from confluent_kafka import KafkaError

from scoring.service.ending import MustExit
from scoring.worker.intake import sort, take
from scoring.worker.partitions import Partitions
from scoring.worker.policy import BatchFailed
from tests.support.simulated_kafka import SimulatedBroker, message


def admitted(*places: tuple[str, int]) -> Partitions:
    partitions = Partitions()
    partitions.met_as("first")
    partitions.assign(places)
    for partition in partitions.all():
        partition.pauses = set()
    return partitions


def test_offsets_are_noted_per_partition_and_records_keep_their_order() -> None:
    messages = [
        message(b"1", partition=0, offset=5),
        message(b"2", partition=1, offset=9),
        message(b"3", partition=0, offset=6),
        message(b"4", topic="other.input", partition=0, offset=0),
        message(b"5", partition=0, offset=9),  # gaps are ordinary: compaction, aborted transactions
    ]
    batch = sort(messages, admitted(("small.input", 0), ("small.input", 1), ("other.input", 0)), "group")
    assert batch.first == {("small.input", 0): 5, ("small.input", 1): 9, ("other.input", 0): 0}
    assert batch.following == {("small.input", 0): 10, ("small.input", 1): 10, ("other.input", 0): 1}
    assert [m.value() for m in batch.by_topic["small.input"]] == [b"1", b"2", b"3", b"5"]
    assert batch.records == 5
    assert batch.group == "group"


def test_records_of_partitions_that_are_not_admitted_or_not_assigned_are_left_out() -> None:
    partitions = admitted(("small.input", 0))
    partitions.assign([("small.input", 1)])
    batch = sort([message(b"", partition=number) for number in range(3)], partitions, None)
    assert batch.following == {("small.input", 0): 1}


def test_taking_a_topic_out_leaves_the_others() -> None:
    messages = [message(b"", offset=3), message(b"", topic="other.input", offset=4)]
    batch = sort(messages, admitted(("small.input", 0), ("other.input", 0)), None)
    assert batch.take_out("small.input") == {("small.input", 0): 3}
    assert batch.following == {("other.input", 0): 5}
    assert batch.first == {("other.input", 0): 4}
    assert list(batch.by_topic) == ["other.input"]
    assert batch.take_out("small.input") == {}


def test_an_event_of_the_client_is_survived_and_a_fatal_one_is_not() -> None:
    partitions = admitted(("small.input", 0))
    away = message(None, error=KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert sort([away, message(b"1")], partitions, None).records == 1
    for fenced in (
        KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", fatal=True),
        KafkaError(KafkaError._FATAL, "fenced"),  # how a consumer says it: without the flag
    ):
        with pytest.raises(MustExit, match="fenced"):
            sort([message(b"1"), message(None, error=fenced)], partitions, None)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_no_more_records_are_taken_than_asked_for(most: int) -> None:
    broker = SimulatedBroker()
    broker.feed([b"x"] * 10)
    consumer = broker.consumer()
    consumer.positions = {("small.input", 0): 0}
    batch = take(consumer.as_consumer(), admitted(("small.input", 0)), most, 0.01)
    assert batch.records == min(most, 10)
    assert batch.group == "generation 0"


def test_an_idle_topic_makes_an_empty_batch() -> None:
    consumer = SimulatedBroker().consumer()
    assert take(consumer.as_consumer(), Partitions(), 10, 0.01).records == 0


@pytest.mark.parametrize("offsets", [[6, 7], [7, 8, 7], [7, 8, 0, 1], [7, 7]])
def test_records_that_were_taken_before_fail_the_batch_wherever_they_come(offsets: list[int]) -> None:
    """The client's position goes back when its own query for a start is answered after admission's seek."""
    partitions = admitted(("small.input", 0), ("small.input", 1))
    due = partitions.get("small.input", 0)
    assert due is not None
    due.next_offset = 7
    messages = [message(b"", offset=offset) for offset in offsets]
    with pytest.raises(BatchFailed, match="the client went back"):
        sort(messages, partitions, None)
    apart = [messages[0], message(b"", partition=1, offset=3), *messages[1:]]
    with pytest.raises(BatchFailed, match="the client went back"):
        sort(apart, partitions, None)


def test_records_behind_a_gap_are_those_that_are_due() -> None:
    partitions = admitted(("small.input", 0), ("small.input", 1))
    for partition in partitions.all():
        partition.next_offset = 7
    found = [message(b"", partition=number, offset=offset) for offset in (7, 9, 20) for number in (1, 0)]
    assert sort(found, partitions, None).following == {("small.input", 0): 21, ("small.input", 1): 21}
