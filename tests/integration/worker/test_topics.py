"""Topics that are not as they must be: the worker says so, scores nothing wrongly, and goes on when they are mended."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import TopicPartition

from local.kafka.broker import Broker
from local.ports import free_ports
from scoring.contract.manifest import Topics
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES, model_topics
from tests.support.arena import PARTITIONS, wait_until
from tests.support.broker import KAFKA_JARS
from tests.support.bundles import score_of, small_record, small_schema
from tests.support.ground import Ground
from tests.support.oracle import examine

pytestmark = pytest.mark.integration


def settings_of(ground: Ground, topic: str) -> dict[str, str]:
    (spec,) = [spec for spec in model_topics(ground.topics, PARTITIONS) if spec.name == topic]
    return dict(spec.settings)


@pytest.mark.parametrize("which", ["input", "predictions", "dead_letters"])
def test_a_topic_that_is_missing_is_named_and_scoring_begins_when_it_is_there(ground: Ground, which: str) -> None:
    topic = getattr(ground.topics, which)
    ground.delete(topic)
    ground.promote(1)
    ground.start()
    ground.wait_for_status(lambda status: f"{topic} is not there" in str(status.get("reason")))
    assert ground.state()["state"] == "fetching"
    ground.create(topic, settings_of(ground, topic))
    ground.feed(80)
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


def test_too_little_room_for_dead_letters_keeps_a_bundle_from_going_live(ground: Ground) -> None:
    ground.set(ground.topics.dead_letters, "max.message.bytes", "1000000")
    ground.promote(1)
    ground.start()
    ground.wait_for_status(lambda status: "max.message.bytes is 1000000" in str(status.get("reason")))
    ground.feed(40)
    assert ground.outcomes() == []
    ground.set(ground.topics.dead_letters, "max.message.bytes", str(OUTPUT_MAXIMUM_BYTES))
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


def test_fewer_output_partitions_than_input_partitions_keep_a_bundle_from_going_live(ground: Ground) -> None:
    ground.delete(ground.topics.predictions)
    ground.create(ground.topics.predictions, settings_of(ground, ground.topics.predictions), partitions=2)
    ground.promote(1)
    ground.start()
    ground.wait_for_status(lambda status: "partitions is 2, must be 4" in str(status.get("reason")))


def test_an_input_topic_that_grows_before_its_outputs_is_scored_once_they_have_grown(ground: Ground) -> None:
    ground.variables["BATON_KAFKA_OPTIONS"] = '{"topic.metadata.refresh.interval.ms": 1000}'
    ground.promote(1)
    ground.start()
    ground.wait_for_state("live")
    ground.grow(ground.topics.input, 5)
    ground.feed_raw(b"in the new partition", partition=4)
    ground.wait_for_log("partition.without_output")
    ground.feed(40)  # the other partitions are not held up
    wait_until(lambda: len(ground.predictions()) == 40, 60, "the other partitions wait too")
    for topic in (ground.topics.predictions, ground.topics.dead_letters):
        ground.grow(topic, 5)
    ground.feed(40)
    ground.wait_until_done()
    assert examine(ground, score_of).faultless
    assert ground.log_of(0).count("batch.recovering") < 6


def test_records_that_retention_removed_unscored_are_said_and_the_rest_is_scored(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.feed(40)
    ground.wait_until_done()
    assert ground.stop(worker) == 0
    ground.feed(400)
    place = TopicPartition(ground.topics.input, 0, 60)  # of 110
    ground.admin.delete_records([place])[place].result(20)
    ground.start()
    wait_until(lambda: len(ground.predictions()) >= 40 + 300 + 50, 60, "what is left was not scored")
    assert "records.gone" in ground.log_of(0)
    scored = [p["input"]["offset"] for p in ground.predictions() if p["input"]["partition"] == 0]
    assert sorted(scored) == [*range(10), *range(60, 110)]


def test_a_recreated_input_topic_is_another_topic(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.feed(40)
    ground.wait_until_done()
    first = ground.topic_id(ground.topics.input)
    assert ground.stop(worker) == 0
    ground.delete(ground.topics.input)
    ground.create(ground.topics.input, settings_of(ground, ground.topics.input))
    ground.feed(40)
    ground.start()
    wait_until(lambda: len(ground.predictions()) == 80, 60, "the second topic's records were not scored")
    second = ground.topic_id(ground.topics.input)
    ids = [p["input"]["topic_id"] for p in ground.predictions()]
    assert (ids.count(first), ids.count(second)) == (40, 40)


@pytest.fixture
def later(tmp_path: Path) -> Iterator[Broker]:
    """A broker that is not up yet."""
    port, controller = free_ports(2)
    broker = Broker.for_faults(tmp_path / "kafka", ports=(port, controller), jars=KAFKA_JARS)
    yield broker
    broker.stop()


def test_a_worker_that_starts_before_its_broker_waits_for_it(later: Broker, tmp_path: Path) -> None:
    with later:
        ground = Ground(later.bootstrap, tmp_path)
    try:
        worker = ground.start()
        ground.wait_for_log("broker.waiting", timeout_s=60)
        later.start()
        ground.promote(1)
        ground.wait_for_state("live", sequence=1, timeout_s=60)
        ground.feed(80)
        ground.wait_until_done()
        assert examine(ground, score_of).faultless
        assert ground.stop(worker) == 0
    finally:
        ground.close()


def test_a_worker_that_is_told_to_stop_before_its_broker_is_up_stops(later: Broker, tmp_path: Path) -> None:
    with later:
        ground = Ground(later.bootstrap, tmp_path)
    try:
        worker = ground.start()
        ground.wait_for_log("broker.waiting", timeout_s=60)
        assert ground.stop(worker) == 0
    finally:
        ground.close()


def test_a_model_that_the_deployment_does_not_list_is_not_scored(ground: Ground) -> None:
    ground.variables["BATON_MODELS"] = "somebody_else"
    ground.promote(1)
    ground.feed(8)
    ground.start()
    wait_until(lambda: bool(ground.heartbeats()), 60, "no heartbeat came")
    assert list(ground.heartbeats()[-1]["models"]) == ["somebody_else"]  # type: ignore[call-overload]
    assert ground.outcomes() == []


def _has_predictions(ground: Ground, at_least: int) -> bool:
    return len(ground.predictions()) >= at_least


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_topic_that_refuses_predictions_does_not_keep_the_other_models_waiting(ground: Ground, delivery: str) -> None:
    other = f"{ground.model}_other"
    topics = Topics.of(other)
    ground.create_model_topics(topics)
    ground.variables |= {"BATON_MODELS": f"{ground.model},{other}", "BATON_DELIVERY": delivery}
    ground.promote(1)
    ground.say(other, 1, ground.register_as(1, small_schema(), model=other), version="1")
    ground.start()
    ground.wait_for_state("live", sequence=1)
    wait_until(lambda: ground.log_of(0).count('"model.acknowledged"') == 2, 60, "the other model never went live")
    ground.set(topics.predictions, "max.message.bytes", "100")
    for number in range(40):
        ground.send(topics.input, msgspec.json.encode(small_record(number)), b"k", None)
    for sent in (400, 800):
        ground.feed(400)
        wait_until(partial(_has_predictions, ground, sent), 60, "the model waits for the other one")
    ground.wait_for_log("topic.apart")
    assert ground.predictions(topics.predictions) == []
    ground.set(topics.predictions, "max.message.bytes", str(OUTPUT_MAXIMUM_BYTES))
    wait_until(lambda: len(ground.predictions(topics.predictions)) >= 40, 60, "the other model never came back")
    ground.feed(40)
    ground.wait_until_done()
    if delivery == "exactly-once":
        assert examine(ground, score_of).faultless
        assert len(ground.predictions(topics.predictions)) == 40
