"""Decisions as pure functions: errors by their flags, waits, and when a partition has to wait."""

from uuid import UUID

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.progress import Progress
from scoring.service.backoff import Backoff
from scoring.topics import Deviation
from scoring.worker.directory import is_grave
from scoring.worker.partitions import Partition, Partitions, Pause, pause_for
from scoring.worker.policy import Remedy, because, remedy
from scoring.worker.policy import kafka_error as error_in
from tests.support.simulated_kafka import kafka_error

OURS, THEIRS = UUID(int=7), UUID(int=8)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, Remedy.EXIT),
        ({"retriable": True}, Remedy.REPEAT),
        ({"abortable": True}, Remedy.ABORT),
        ({"fatal": True}, Remedy.EXIT),
        ({"retriable": True, "abortable": True}, Remedy.ABORT),
        ({"retriable": True, "fatal": True}, Remedy.EXIT),
        ({"abortable": True, "fatal": True}, Remedy.EXIT),
        ({"retriable": True, "abortable": True, "fatal": True}, Remedy.EXIT),
    ],
)
def test_an_error_is_judged_by_its_flags_the_gravest_first(flags: dict[str, bool], expected: Remedy) -> None:
    assert remedy(error_in(kafka_error(**flags))) is expected


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    assert [backoff.wait_s(attempt) for attempt in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("needs", "live", "expected"),
    [
        (Progress(), None, Pause.NO_MODEL),
        (Progress(OURS, 3), None, Pause.NO_MODEL),
        (Progress(), Progress(OURS, 1), None),
        (Progress(OURS, 3), Progress(OURS, 2), Pause.HELD),
        (Progress(OURS, 3), Progress(OURS, 3), None),
        (Progress(OURS, 3), Progress(OURS, 4), None),
        (Progress(THEIRS, 3), Progress(OURS, 4), Pause.OTHER_LEDGER),
        (Progress(THEIRS, 3), Progress(OURS, 3), Pause.OTHER_LEDGER),
        (Progress(OURS, 0), Progress(OURS, 1), None),
    ],
)
def test_a_partition_waits_for_the_sequence_that_its_offset_names(
    needs: Progress, live: Progress | None, expected: Pause | None
) -> None:
    assert pause_for(needs, live) is expected


@given(st.integers(0, 100), st.integers(1, 100))
def test_the_sequence_never_goes_back_on_a_partition(needs: int, live: int) -> None:
    assert (pause_for(Progress(OURS, needs), Progress(OURS, live)) is None) == (live >= needs)


def test_a_partition_that_came_is_paused_and_knows_nothing() -> None:
    partitions = Partitions()
    partitions.assign([("a", 1)])
    found = partitions.get("a", 1)
    assert found == Partition("a", 1)
    assert found is not None
    assert not found.admitted
    assert not found.placed
    assert partitions.rebalanced
    assert partitions.joined
    assert partitions.waiting() == [found]


def test_nothing_is_kept_of_a_partition_that_went() -> None:
    partitions = Partitions()
    partitions.assign([("a", 1)])
    admitted = partitions.all()[0]
    admitted.pauses, admitted.next_offset = set(), 9
    partitions.revoke([("a", 1), ("a", 2)])
    assert partitions.all() == []
    partitions.assign([("a", 1)])
    assert partitions.all() == [Partition("a", 1)]


def test_going_back_forgets_how_far_everything_was_read() -> None:
    partitions = Partitions()
    partitions.assign([("b", 0), ("a", 1), ("a", 0)])
    for partition in partitions.all():
        partition.pauses, partition.next_offset = set(), 9
    partitions.reset()
    assert partitions.all() == [Partition(*place, kept=True) for place in (("a", 0), ("a", 1), ("b", 0))]
    assert not partitions.rebalanced
    assert partitions.of_topic("b") == [Partition("b", 0, kept=True)]


@pytest.mark.parametrize(
    ("setting", "found", "wanted", "grave"),
    [
        ("", "absent", "present", True),
        ("partitions", "2", "4", True),
        ("partitions", "8", "4", False),
        ("max.message.bytes", "1000", "at least 2000", True),
        ("retention.ms", "1", "at least 5", False),
        ("cleanup.policy", "compact", "delete", False),
    ],
)
def test_only_what_would_stop_the_worker_keeps_a_bundle_from_going_live(
    setting: str, found: str, wanted: str, grave: bool
) -> None:
    assert is_grave(Deviation(topic="t", setting=setting, found=found, wanted=wanted, remedy="r")) is grave


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID, KafkaError.PRODUCER_FENCED])
def test_a_worker_that_was_fenced_is_told_to_look_for_another_one_in_its_slot(code: int) -> None:
    told = because(KafkaException(KafkaError(code, "Static consumer fenced")))
    assert "another --slot" in told
    assert "Static consumer fenced" in told


def test_other_errors_are_told_as_they_are() -> None:
    assert because(KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))) == "no answer (_TIMED_OUT)"
    assert because(ValueError("a surprise")) == "a surprise"
