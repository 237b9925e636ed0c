"""The loop of a sink on topics in memory and real tables on SQLite."""

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from confluent_kafka import KafkaError

from scoring.contract.errors import Unavailable
from scoring.database.connection import Database
from scoring.database.migrations import migrate
from scoring.predictions import tables
from scoring.predictions.database import MIGRATIONS, open_database
from scoring.predictions.writing import Batch, Overtaken, Refused, Tables
from scoring.service.ending import MustExit
from scoring.sink.assignment import Assignment
from scoring.sink.feeds import feeds_of
from scoring.sink.intake import Intake
from scoring.sink.loop import Loop
from scoring.sink.metrics import Metrics
from scoring.sink.readiness import View, report, view
from tests.support.predictions import INPUT, LETTERS, PLACE, lettered, moved, predicted, record, rows, stored
from tests.support.simulated_topics import SimulatedConsumer, SimulatedTopics

PREDICTIONS, LETTERS_TOPIC = "small.predictions", "small.dead-letters"
NOW = datetime(2026, 3, 1, 12, 31, tzinfo=UTC)


class Planned(Tables):
    """Tables whose next calls go wrong as planned: an exception before the call, or one after it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.refuse: Callable[[Batch], bool] = lambda _: False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, batch: Batch) -> None:
        assert self.gate.wait(20)
        _raise_next(self.before)
        if self.refuse(batch):
            raise Refused("a value is too odd")
        super().write(batch)
        _raise_next(self.after)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


class Stage:
    """A sink, its topics and its tables."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.topics = SimulatedTopics(PREDICTIONS, LETTERS_TOPIC)
        self.clock = Clock()
        self.store = Planned(database)
        self.start()

    def start(self) -> None:
        """Another process: nothing is known but what the tables hold."""
        self.metrics = Metrics()
        self.consumer = SimulatedConsumer(self.topics, self.clock.wait)
        client = self.consumer.client()
        feeds = feeds_of(["small"], {})
        self.assignment = Assignment(
            client, self.store, sorted(feeds), self.topics.topic_ids, self.metrics, lambda: NOW, self.clock
        )
        self.loop = Loop(
            consumer=client,
            assignment=self.assignment,
            intake=Intake(client, 100, self.clock),
            store=self.store,
            feeds=feeds,
            metrics=self.metrics,
            stopping=lambda: False,
            beat=lambda: None,
            now=lambda: NOW,
            clock_s=self.clock,
        )
        self.assignment.subscribe()
        self.consumer.give((PREDICTIONS, 0), (LETTERS_TOPIC, 0))

    def turn(self, times: int = 1, *, every_s: float = 30.0) -> None:
        """Let the loop come round, with time in between."""
        for _ in range(times):
            self.loop.turn()
            self.loop.settle()
            self.clock.now_s += every_s

    @property
    def view(self) -> View:
        """How the sink stands."""
        return view(report(self.assignment, NOW, self.clock.now_s), 0.0)

    @property
    def offsets(self) -> list[int]:
        """Of the predictions in the table."""
        return [found.place.offset for found in stored(self.database)]

    @property
    def next_offsets(self) -> dict[str, int]:
        """By topic id, as the tables have it."""
        with self.database.reading() as connection:
            found = connection.execute(sa.select(tables.offsets.c.topic_id, tables.offsets.c.next_offset))
            return {str(topic): int(offset) for topic, offset in found}


def _raise_next(planned: list[Exception | None]) -> None:
    error = planned.pop(0) if planned else None
    if error is not None:
        raise error


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    database = open_database(f"sqlite:///{tmp_path / 'predictions.db'}")
    migrate(database, MIGRATIONS)
    yield Stage(database)
    database.engine.dispose()


def test_what_is_in_the_topics_is_in_the_tables_after_one_turn(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)), lettered(0))
    stage.turn()
    assert stage.offsets == [0, 1, 2, 3, 4]
    assert len(rows(stage.database, tables.dead_letters)) == 1
    assert stage.next_offsets == {f"{PREDICTIONS}-id": 5, f"{LETTERS_TOPIC}-id": 1}
    assert stage.metrics.records == {PREDICTIONS: 5, LETTERS_TOPIC: 1}


def test_it_goes_on_where_the_tables_are_whoever_wrote_them(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)))
    stage.turn()
    stage.topics.add(*map(predicted, range(5, 8)))
    stage.start()
    stage.turn()
    assert stage.offsets == list(range(8))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_database_that_goes_away_during_a_write_loses_and_doubles_nothing(stage: Stage, when: str) -> None:
    stage.topics.add(*map(predicted, range(5)))
    planned: list[Exception | None] = [Unavailable("gone"), *([Unavailable("still gone")] if when == "before" else [])]
    getattr(stage.store, when).extend(planned)
    stage.turn()
    assert stage.view.why_not == ("gone",)
    stage.turn(3)
    assert stage.offsets == [0, 1, 2, 3, 4]
    assert stage.view.ready
    assert stage.metrics.batches["failed"] == len(planned)


def test_nothing_is_read_while_the_database_is_away_and_each_try_waits_longer(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)))
    stage.store.before.extend([Unavailable("gone")] * 6)
    began_s, tried_s = stage.clock.now_s, list[float]()
    while not stage.offsets:
        tries = stage.metrics.batches["failed"]
        stage.turn(every_s=0.0)
        if stage.metrics.batches["failed"] > tries:
            tried_s.append(stage.clock.now_s - began_s)
            assert all(p.next_offset is None for p in stage.assignment.partitions.all())
    waits_s = [later - earlier for earlier, later in itertools.pairwise(tried_s)]
    assert [round(wait_s, 1) for wait_s in waits_s] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2], abs=0.15)


def test_what_another_sink_wrote_meanwhile_is_not_written_again(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)))
    stage.turn()
    stage.topics.add(*map(predicted, range(5, 10)))
    other = Stage(stage.database)
    other.topics = stage.topics
    other.start()
    other.turn()
    stage.turn(2)
    assert stage.metrics.batches == {"written": 1, "overtaken": 1}
    assert stage.offsets == list(range(10))
    assert stage.view.ready


def test_records_that_slip_through_before_a_seek_are_dropped(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)))
    stage.turn()
    stage.consumer.stale.extend(stage.topics.records[PREDICTIONS, 0][2:4])
    stage.turn()
    assert stage.offsets == [0, 1, 2, 3, 4]


def test_what_is_no_prediction_is_kept_aside_and_holds_nobody_up(stage: Stage) -> None:
    stage.topics.add(predicted(0), record(b"nonsense", moved(PLACE, offset=1)), predicted(2))
    stage.topics.add(record(b"{}", moved(LETTERS, offset=0)))
    stage.turn()
    assert stage.offsets == [0, 2]
    assert [row["topic"] for row in rows(stage.database, tables.unreadable)] == [LETTERS_TOPIC, PREDICTIONS]
    assert stage.metrics.unreadable == {PREDICTIONS: 1, LETTERS_TOPIC: 1}
    assert stage.next_offsets == {f"{PREDICTIONS}-id": 3, f"{LETTERS_TOPIC}-id": 1}


def test_the_one_record_that_the_database_refuses_is_found_and_kept_aside(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(37)))
    stage.store.refuse = lambda batch: any(row.topic_offset == 23 for row in batch.predictions)
    stage.turn()
    assert stage.offsets == [n for n in range(37) if n != 23]
    (aside,) = rows(stage.database, tables.unreadable)
    assert (aside["topic_offset"], aside["reason"]) == (23, "the database refuses it: a value is too odd")


def test_a_topic_that_is_made_again_begins_anew_beside_what_there_was(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(3)))
    stage.turn()
    stage.topics.make_again(PREDICTIONS)
    stage.turn()
    stage.topics.add(predicted(0, input=moved(INPUT, topic_id="again")))
    stage.turn(2)
    assert stage.next_offsets[f"{PREDICTIONS}-id-again"] == 1
    assert [(f.place.topic_id, f.place.offset) for f in stored(stage.database)] == [
        (f"{PREDICTIONS}-id", 0),
        (f"{PREDICTIONS}-id", 1),
        (f"{PREDICTIONS}-id", 2),
        (f"{PREDICTIONS}-id-again", 0),
    ]


def test_what_retention_removed_unread_is_on_record_and_counted(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(3)))
    stage.turn()
    stage.topics.add(*map(predicted, range(3, 20)))
    stage.topics.expire((PREDICTIONS, 0), 10)
    stage.start()
    stage.turn(2)
    (gap,) = stage.database.engine.connect().execute(sa.select(tables.gaps)).mappings()
    assert (gap["first_offset"], gap["next_offset"], gap["found_at"]) == (3, 10, NOW)
    assert stage.metrics.gone == {(PREDICTIONS, "0"): 7}
    assert stage.offsets == [0, 1, 2, *range(10, 20)]


def test_retention_that_overtakes_a_running_sink_is_noticed_as_well(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(3)))
    stage.turn()
    stage.topics.records[PREDICTIONS, 0].clear()
    stage.topics.low[PREDICTIONS, 0] = 8
    stage.turn(2)
    assert stage.metrics.gone == {(PREDICTIONS, "0"): 5}


def test_a_first_sink_begins_at_the_oldest_record_and_that_is_no_gap(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(10)))
    stage.topics.expire((PREDICTIONS, 0), 4)
    stage.turn()
    assert stage.offsets == list(range(4, 10))
    assert not stage.metrics.gone


def test_markers_of_transactions_that_retention_removes_are_no_gap(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(3)))
    stage.topics.markers[PREDICTIONS, 0] = 1
    stage.turn(3)
    assert stage.next_offsets[f"{PREDICTIONS}-id"] == 4
    stage.topics.records[PREDICTIONS, 0].clear()
    stage.topics.markers.clear()
    stage.topics.low[PREDICTIONS, 0] = 4
    stage.start()
    stage.turn()
    assert not stage.metrics.gone


def test_a_topic_that_lost_its_end_is_waited_for_and_said(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)))
    stage.turn()
    del stage.topics.records[PREDICTIONS, 0][2:]
    stage.start()
    stage.turn(2)
    (why,) = stage.view.why_not
    assert "it lost its end" in why
    stage.topics.add(*map(predicted, range(2, 7)))
    stage.turn()
    assert stage.offsets == list(range(7))


def test_a_topic_that_is_not_there_is_named_and_the_others_are_read(stage: Stage) -> None:
    stage.topics.ids[LETTERS_TOPIC] = None
    stage.topics.add(predicted(0))
    stage.turn()
    stage.consumer.give((PREDICTIONS, 0))
    stage.turn()
    assert stage.offsets == [0]
    (why,) = stage.view.why_not
    assert why == f"there is no topic {LETTERS_TOPIC}; `baton topics create` makes it"


def test_a_topic_that_goes_while_it_is_read_keeps_no_other_one_waiting(stage: Stage) -> None:
    stage.topics.add(predicted(0), lettered(0))
    stage.turn()
    stage.topics.ids[LETTERS_TOPIC] = None
    stage.topics.records[LETTERS_TOPIC, 0].clear()
    stage.start()
    stage.turn()
    told = len(stage.consumer.assigned)
    for offset in range(1, 6):
        stage.topics.add(predicted(offset))
        stage.turn()
    assert stage.offsets == list(range(6))
    assert len(stage.consumer.assigned) == told  # the client is not told anew each time
    assert stage.assignment.problem is None


def test_a_broker_that_is_away_is_waited_for(stage: Stage) -> None:
    stage.topics.away = True
    stage.topics.add(*map(predicted, range(2)))
    stage.turn(3)
    assert stage.offsets == []
    assert not stage.view.ready
    stage.topics.away = False
    stage.turn(3)
    assert stage.offsets == [0, 1]


def test_who_is_fenced_ends(stage: Stage) -> None:
    stage.consumer.errors.append(KafkaError(KafkaError.FENCED_INSTANCE_ID))
    with pytest.raises(MustExit, match="another sink runs in this slot"):
        stage.turn()


def test_batches_are_bounded_and_nothing_is_left_between_them(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(350)))
    stage.turn(4)
    assert stage.offsets == list(range(350))
    assert stage.metrics.batches["written"] == 4


def test_batches_end_with_their_bytes_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.sink.intake.MAXIMUM_BYTES", 1_000)
    monkeypatch.setattr("scoring.sink.intake.SLICE_RECORDS", 2)
    stage.topics.add(*map(predicted, range(20)))
    stage.turn()
    assert 0 < len(stage.offsets) < 10


@pytest.mark.parametrize("large", [{"key": b"k" * 600}, {"own": (("h", b"x" * 600), ("h" * 600, None))}])
def test_keys_and_headers_are_bytes_of_a_batch_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, large: dict[str, Any]
) -> None:
    monkeypatch.setattr("scoring.sink.intake.MAXIMUM_BYTES", 5_000)
    monkeypatch.setattr("scoring.sink.intake.SLICE_RECORDS", 2)
    stage.topics.add(*(lettered(n, value=None, **large) for n in range(20)))
    stage.turn()
    assert 0 < len(rows(stage.database, tables.dead_letters)) < 10


def test_how_far_behind_a_partition_is_is_known_in_records_and_seconds(stage: Stage) -> None:
    stage.turn()
    assert [(p.topic, p.lag, p.lag_s) for p in stage.view.report.partitions] == [
        (LETTERS_TOPIC, 0, 0.0),
        (PREDICTIONS, 0, 0.0),
    ]
    stage.topics.add(*map(predicted, range(250)))
    stage.start()
    stage.turn()
    (predictions,) = (p for p in stage.view.report.partitions if p.topic == PREDICTIONS)
    assert (predictions.lag, predictions.lag_s) == (150, 60.0)


def unexpected(error: Any) -> None:
    raise error


def test_an_overtaken_gap_is_looked_at_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.topics.add(*map(predicted, range(3)))
    stage.turn()
    stage.topics.expire((PREDICTIONS, 0), 3)
    stage.topics.low[PREDICTIONS, 0] = 6
    stage.start()
    with monkeypatch.context() as planned:
        planned.setattr(stage.store, "note_gap", lambda _: unexpected(Overtaken("another sink")))
        stage.turn()
    stage.turn(2)
    assert stage.metrics.gone == {(PREDICTIONS, "0"): 3}


# --- a batch is being written while the next one is read ----------------------------------------------------------


@pytest.fixture
def gate(stage: Stage) -> Iterator[threading.Event]:
    """Writes wait for it."""
    opened = threading.Event()
    stage.store.gate = opened
    yield opened
    opened.set()


def test_the_next_batch_is_read_while_one_is_written_and_follows_it(stage: Stage, gate: threading.Event) -> None:
    stage.topics.add(*map(predicted, range(150)))
    stage.loop.turn()  # a hundred are on their way
    (predictions,) = (p for p in stage.assignment.partitions.all() if p.topic == PREDICTIONS)
    assert (predictions.next_offset, predictions.position) == (0, 100)
    gate.set()
    stage.turn()
    assert stage.offsets == list(range(150))
    assert stage.metrics.batches["written"] == 2


@pytest.mark.parametrize("error", [Unavailable("gone"), Overtaken("another sink")])
def test_what_was_read_behind_a_batch_that_failed_is_thrown_away_with_it(
    stage: Stage, gate: threading.Event, error: Exception
) -> None:
    stage.topics.add(*map(predicted, range(150)))
    stage.store.before.append(error)
    stage.loop.turn()
    gate.set()
    stage.turn()  # the second fifty were read by then
    assert stage.offsets == []
    stage.turn(3)
    assert stage.offsets == list(range(150))


def test_partitions_that_come_while_a_batch_is_written_wait_for_it(stage: Stage, gate: threading.Event) -> None:
    stage.topics.add(*map(predicted, range(150)))
    stage.loop.turn()
    stage.consumer.give((PREDICTIONS, 0))
    gate.set()
    stage.turn(3)
    assert stage.offsets == list(range(150))
    assert stage.metrics.batches["overtaken"] == 0


def test_the_one_record_that_the_database_refuses_is_found_with_the_next_batch_in_hand(
    stage: Stage, gate: threading.Event
) -> None:
    stage.topics.add(*map(predicted, range(150)))
    stage.store.refuse = lambda batch: any(row.topic_offset == 23 for row in batch.predictions)
    stage.loop.turn()
    gate.set()
    stage.turn(2)
    assert stage.offsets == [n for n in range(150) if n != 23]


def test_told_to_stop_it_waits_for_the_batch_under_way(stage: Stage) -> None:
    stage.topics.add(*map(predicted, range(5)))
    stage.loop.turn()
    stage.loop._stopping = lambda: True
    stage.loop.run()
    assert stage.metrics.records[PREDICTIONS] == 5
    assert stage.offsets == [0, 1, 2, 3, 4]
