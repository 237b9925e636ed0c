"""Sinks on a real broker: what is in the topics is in the tables, once, whoever comes, goes, hangs or is killed."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from scoring.predictions import tables
from scoring.predictions.database import open_database
from tests.support.arena import end_offsets, wait_until
from tests.support.predicted_stream import PredictedStream
from tests.support.sink_oracle import rows_in, topic_id_of
from tests.support.sinks import Sinks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(360)]
Fill = Callable[[str], Sinks]


def rows_of(url: str, table: sa.Table) -> list[sa.RowMapping]:
    database = open_database(url)
    with database.reading() as connection:
        found = list(connection.execute(sa.select(table)).mappings())
    database.engine.dispose()
    return found


def test_the_tables_are_what_the_topics_are_row_for_row(stream: PredictedStream, fill: Fill, url: str) -> None:
    stream.feed(5_000)
    sinks = fill(url)
    process = sinks.start()
    verdict = sinks.finish(stream)
    assert verdict.records == sum(stream.committed.values()) >= 5_000
    assert verdict.latest > 500
    stream.feed(1_000)
    sinks.finish(stream)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_two_sinks_share_the_partitions_and_one_takes_over_when_the_other_is_killed(
    stream: PredictedStream, fill: Fill, url: str
) -> None:
    sinks = fill(url)
    one, two = sinks.start(0), sinks.start(1)
    stream.feed(2_000)
    sinks.wait_for_log("partition.admitted", 0)
    sinks.wait_for_log("partition.admitted", 1)
    stream.feed(2_000)
    one.kill()
    stream.feed(2_000)
    sinks.finish(stream)
    sinks.start(0)
    stream.feed(2_000)
    sinks.finish(stream)
    assert two.poll() is None


def test_a_sink_that_freezes_and_wakes_up_after_it_was_succeeded_doubles_nothing(
    stream: PredictedStream, fill: Fill, url: str
) -> None:
    sinks = fill(url)
    frozen = sinks.start(0)
    stream.feed(3_000)
    sinks.wait_for_rows(1)
    sinks.freeze(frozen)
    sinks.start(1)
    stream.feed(3_000)
    sinks.finish(stream)
    frozen.send_signal(signal.SIGCONT)
    stream.feed(3_000)
    sinks.finish(stream)


def test_a_second_sink_in_a_slot_fences_the_first_which_says_so(
    stream: PredictedStream, fill: Fill, sqlite_url: str
) -> None:
    sinks = fill(sqlite_url)
    first = sinks.start(0)
    stream.feed(500)
    sinks.finish(stream)
    sinks.start(0, sink_metrics_port="0")
    assert first.wait(60) == 70
    assert "another sink runs in this slot" in sinks.log()
    stream.feed(500)
    sinks.finish(stream)


def test_a_topic_that_is_deleted_and_made_again_begins_anew_beside_the_old_rows(
    stream: PredictedStream, fill: Fill, sqlite_url: str
) -> None:
    sinks = fill(sqlite_url)
    sinks.start()
    stream.feed(1_000)
    sinks.finish(stream)
    old, before = topic_id_of(stream.bootstrap, stream.topics.predictions), rows_in(sqlite_url)
    stream.delete()
    sinks.wait_for_log("topic.missing", timeout_s=60)
    stream.create()
    again = topic_id_of(stream.bootstrap, stream.topics.predictions)
    assert again != old
    for number in range(40):
        stream.send(b"rubbish %d" % number, partition=number % 4)
    sinks.wait_for_rows(before + 40, timeout_s=90)
    found = rows_of(sqlite_url, tables.unreadable)
    assert {row["value"] for row in found if row["topic_id"] == again} == {b"rubbish %d" % n for n in range(40)}
    assert rows_in(sqlite_url) == before + 40


def test_what_retention_removed_unread_is_put_on_record(stream: PredictedStream, fill: Fill, sqlite_url: str) -> None:
    sinks = fill(sqlite_url)
    process = sinks.start()
    stream.feed(1_000)
    sinks.finish(stream)
    process.kill()
    process.wait()
    before = {row["topic_partition"]: row["next_offset"] for row in predictions_offsets(stream, sqlite_url)}
    stream.feed(2_000)
    ends = end_offsets(stream.bootstrap, stream.topics.predictions)
    admin = AdminClient({"bootstrap.servers": stream.bootstrap, "log_level": 4})
    for future in admin.delete_records([TopicPartition(stream.topics.predictions, 2, ends[2])]).values():
        future.result(20)
    sinks.start()
    sinks.wait_for_log("records.gone")
    stream.feed(500)
    wait_until(
        lambda: (
            {row["topic_partition"]: row["next_offset"] for row in predictions_offsets(stream, sqlite_url)}
            == dict(enumerate(end_offsets(stream.bootstrap, stream.topics.predictions)))
        ),
        60,
        "the other records are missing",
    )
    (gap,) = rows_of(sqlite_url, tables.gaps)
    assert (gap["topic_partition"], gap["first_offset"], gap["next_offset"]) == (2, before[2], ends[2])
    gone = f'baton_sink_gone_total{{partition="2",topic="{stream.topics.predictions}"}} {float(ends[2] - before[2])}'
    wait_until(lambda: gone in str(sinks.probe("/metrics")[1]), 60, "what is gone is not counted")


def predictions_offsets(stream: PredictedStream, url: str) -> list[sa.RowMapping]:
    return [row for row in rows_of(url, tables.offsets) if row["topic"] == stream.topics.predictions]


def test_markers_that_retention_removes_are_no_gap(stream: PredictedStream, fill: Fill, sqlite_url: str) -> None:
    sinks = fill(sqlite_url)
    process = sinks.start()
    stream.feed(1_000)
    sinks.finish(stream)  # among other things: the tables' offsets are the topics' ends, markers included
    process.kill()
    process.wait()
    admin = AdminClient({"bootstrap.servers": stream.bootstrap, "log_level": 4})
    ends = end_offsets(stream.bootstrap, stream.topics.predictions)
    places = [TopicPartition(stream.topics.predictions, number, end) for number, end in enumerate(ends)]
    for future in admin.delete_records(places).values():
        future.result(20)
    sinks.start()
    sinks.wait_for_probe(lambda status, _: status == 200, "it is not ready")
    assert rows_of(sqlite_url, tables.gaps) == []


def test_it_may_start_before_its_topics_are_there(stream: PredictedStream, fill: Fill, sqlite_url: str) -> None:
    stream.delete()
    sinks = fill(sqlite_url)
    sinks.start()
    sinks.wait_for_probe(
        lambda status, told: status == 503 and "there is no topic" in str(told), "it does not say what is missing"
    )
    stream.create()
    stream.feed(300)
    sinks.finish(stream)
    sinks.wait_for_probe(lambda status, _: status == 200, "it is not ready")


def test_without_tables_it_ends_and_names_the_command(fill: Fill, tmp_path: Path) -> None:
    sinks = fill(f"sqlite:///{tmp_path / 'none.db'}")
    assert sinks.start().wait(60) == 2
    assert "baton predictions migrate" in sinks.log()


def test_what_is_missing_is_said_all_at_once(fill: Fill, sqlite_url: str) -> None:
    sinks = fill(sqlite_url)
    assert sinks.start(models="", kafka_bootstrap="x", metrics_address="0.0.0.0").wait(60) == 2
    assert "BATON_MODELS is empty" in sinks.log()
    assert "BATON_METRICS_TOKEN_FILE" in sinks.log()
