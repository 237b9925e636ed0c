"""What an explanation says when time has taken something away: each is told, and the rest is explained all the same."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from local.kafka.broker import Broker
from scoring.kafka import admin_client, topic_ids
from tests.support.arena import read_all, wait_until
from tests.support.command_line import baton
from tests.support.explain_stage import Stage, fill_tables
from tests.support.ground import record
from tests.support.postgres import MakeDatabase

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture
def stage(broker: Broker, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(broker.bootstrap, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'predictions.db'}"
    make: MakeDatabase = request.getfixturevalue("make_postgres_database")
    return make()


def call(stage: Stage, *arguments: str, url: str = "") -> tuple[int, str, str]:
    return baton({**stage.environment(0), "BATON_PREDICTIONS_URL": url}, "explain", *arguments)


def answer(stage: Stage, *arguments: str, status: int = 0, url: str = "") -> Any:
    code, output, errors = call(stage, *arguments, "--json", url=url)
    assert code == status, f"{output}\n{errors}"
    return json.loads(output)


def scored(stage: Stage, *more: bytes) -> None:
    """Forty predictions, ten in each partition, and behind them what else is to be scored in partition 0."""
    stage.decide(1)
    stage.feed(40)
    for value in more:
        stage.feed_raw(value, partition=0)
    stage.start()
    stage.wait_until_done()


def cut(stage: Stage, topic: str, partition: int, offset: int) -> None:
    """Delete what stands before an offset, as retention does."""
    for future in stage.admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(20)


def end_of(stage: Stage, topic: str) -> int:
    return max(each.offset for each in read_all(stage.bootstrap, topic) if each.partition == 0) + 1


def test_the_table_finds_an_outcome_and_keeps_it_when_its_topic_has_it_no_more(stage: Stage, url: str) -> None:
    scored(stage, record(1, x="seven"))
    fill_tables(url, stage)
    topics = stage.topics

    plain = answer(stage, topics.input, "0", "3")
    found = answer(stage, topics.input, "0", "3", url=url)
    assert found == plain
    assert found["missing"] == []

    cut(stage, topics.predictions, 0, end_of(stage, topics.predictions))
    gone = answer(stage, topics.input, "0", "3", status=1)
    assert (gone["prediction"], "it has no outcome" in gone["missing"][-1]) == (None, True)
    kept = answer(stage, topics.input, "0", "3", url=url)
    assert kept["prediction"] == plain["prediction"]
    assert kept["rescored"]["verdict"] == "identical"
    assert "retention has deleted it" in kept["missing"][0]
    assert "the row that the predictions' table keeps" in kept["missing"][0]
    place = plain["prediction_place"]
    again = answer(stage, topics.predictions, str(place["partition"]), str(place["offset"]), url=url)
    assert again["prediction"] == plain["prediction"]

    letter = answer(stage, topics.input, "0", "10", url=url)["letter"]
    cut(stage, topics.dead_letters, 0, end_of(stage, topics.dead_letters))
    rest = answer(stage, topics.input, "0", "10", url=url)
    assert rest["letter"]["told"] == letter["told"]
    assert "the row that the predictions' table keeps" in rest["missing"][0]
    stale = letter["place"]
    rest = answer(stage, topics.dead_letters, str(stale["partition"]), str(stale["offset"]), url=url)
    assert rest["letter"]["told"] == letter["told"]


def test_a_table_that_is_away_or_says_otherwise_does_not_stand_in_the_way(stage: Stage, tmp_path: Path) -> None:
    scored(stage)
    topics, url = stage.topics, f"sqlite:///{tmp_path / 'predictions.db'}"
    away = answer(stage, topics.input, "0", "3", url=url)
    assert away["rescored"]["verdict"] == "identical"
    assert "the predictions' table cannot be had" in away["missing"][0]
    fill_tables(url, stage)
    from sqlalchemy import create_engine, text

    with create_engine(url).begin() as connection:
        connection.execute(text("update predictions set score = 99.0"))
    found = answer(stage, topics.input, "0", "3", url=url)
    assert found["rescored"]["verdict"] == "identical"
    assert "the topic's is told here" in found["missing"][0]


def test_what_is_gone_is_told_and_the_rest_is_explained(stage: Stage) -> None:
    scored(stage)
    topics = stage.topics
    full = answer(stage, topics.input, "0", "3")

    registry = stage.folder / "registry" / stage.model
    shutil.move(registry / "1", stage.folder / "pruned")
    pruned = answer(stage, topics.input, "0", "3", status=1)
    assert pruned["prediction"] == full["prediction"]
    assert pruned["why"] == full["why"]
    assert [each["value"] for each in pruned["enrichment"]] == [each["value"] for each in full["enrichment"]]
    assert "--bundle FOLDER" in pruned["missing"][0]
    elsewhere = answer(stage, topics.input, "0", "3", "--bundle", str(stage.folder / "pruned"))
    assert elsewhere["rescored"]["verdict"] == "identical"
    shutil.move(stage.folder / "pruned", registry / "1")

    with stage.book._database.writing() as connection:
        from sqlalchemy import text

        connection.execute(text("delete from ledger_entries"))
    restored = answer(stage, topics.input, "0", "3", status=1)
    assert restored["rescored"]["verdict"] == "identical"
    assert "restored from an older copy" in restored["why"]["problems"][0]

    cut(stage, topics.input, 0, 4)
    gone = answer(stage, topics.input, "0", "3", status=1)
    assert gone["prediction"] == full["prediction"]
    assert "begins at offset 4" in gone["missing"][0]


def test_a_transactions_marker_at_the_place_is_told_with_the_next_record(stage: Stage) -> None:
    scored(stage)
    producer = Producer({"bootstrap.servers": stage.bootstrap, "transactional.id": stage.model})
    producer.init_transactions(30)
    for _ in range(2):
        producer.begin_transaction()
        producer.produce(stage.topics.input, record(77), b"k", 0)
        producer.commit_transaction(30)
    stage.produced += 2
    stage.wait_until_done()
    code, _, told = call(stage, stage.topics.input, "0", "11")
    assert (code, "a transaction's marker" in told, "the next record stands at offset 12" in told) == (2, True, True)
    marker = next(
        str(offset)
        for offset in range(end_of(stage, stage.topics.predictions))
        if not any(
            (each.partition, each.offset) == (0, offset) for each in read_all(stage.bootstrap, stage.topics.predictions)
        )
    )
    code, _, told = call(stage, stage.topics.predictions, "0", marker)
    assert (code, "a transaction's marker" in told, "the next record stands" in told) == (2, True, True)
    code, _, told = call(stage, stage.topics.input, "9", "0")
    assert (code, "has 4 partitions" in told) == (2, True)


def test_of_an_input_topic_that_was_made_again_the_earlier_ones_record_is_explained(stage: Stage, url: str) -> None:
    scored(stage)
    fill_tables(url, stage)
    topics = stage.topics
    before = answer(stage, topics.input, "0", "3")
    for worker in stage.workers:
        stage.stop(worker)
    stage.delete(topics.input)
    stage.create(topics.input, {})
    kafka = {"bootstrap.servers": stage.bootstrap}
    wait_until(lambda: topic_ids(admin_client(kafka), [topics.input])[topics.input] is not None, 30, "it is not there")
    code, _, told = call(stage, topics.input, "0", "3", url=url)
    earlier = before["place"]["topic_id"]
    assert code == 2
    assert f"--topic-id {earlier}" in told
    for table in ("", url):
        found = answer(stage, topics.input, "0", "3", "--topic-id", earlier, status=1, url=table)
        assert found["prediction"] == before["prediction"]
        assert "was deleted and made again" in found["missing"][0]
        assert found["rescored"]["causes"] == ["the record is gone"]
