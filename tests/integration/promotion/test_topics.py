"""Topics on a real broker: created once, checked whole, mended where Kafka can (protocol "Topics", B.8, A.13)."""

from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient

from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Topics
from scoring.contract.topics import control_topics, pipeline_topics
from scoring.kafka import Options, topic_ids
from scoring.topics import TopicReport, all_shared_topics, check_topics, ensure_topics
from tests.support.arena import wait_until
from tests.support.broker import create_topic

pytestmark = pytest.mark.integration


@pytest.fixture
def topics(unique_name: Callable[[str], str]) -> Topics:
    return Topics.of(unique_name("m"))


def deviations(report: TopicReport) -> set[tuple[str, str]]:
    return {(deviation.topic, deviation.setting) for deviation in report.deviations}


def bootstrap(kafka: Options) -> str:
    return str(kafka["bootstrap.servers"])


def test_topics_are_created_once_and_are_then_as_they_must_be(kafka: Options, topics: Topics) -> None:
    first = ensure_topics(kafka, [topics], 3)
    assert set(first.created) >= {topics.input, topics.predictions, topics.dead_letters}
    assert first.deviations == ()
    shared = {spec.name for spec in (*control_topics(), *pipeline_topics())}
    assert set(first.ids) == shared | {topics.input, topics.predictions, topics.dead_letters}
    again = ensure_topics(kafka, [topics], 3)
    assert again.created == ()
    assert again.ids == first.ids
    check_topics(kafka, [topics], shared=all_shared_topics()).require_good()
    check_topics(kafka, [topics], 3).require_good()


def test_a_recreated_topic_has_another_id(kafka: Options, topics: Topics) -> None:
    first = ensure_topics(kafka, [topics], 1).ids[topics.input]
    admin = AdminClient({**kafka, "log_level": 4})
    admin.delete_topics([topics.input])[topics.input].result(20)
    wait_until(lambda: topic_ids(admin, [topics.input])[topics.input] is None, 60, "the topic was not deleted")
    assert ensure_topics(kafka, [topics], 1).ids[topics.input] != first


def test_every_deviation_is_listed_at_once_with_its_remedy(kafka: Options, topics: Topics) -> None:
    create_topic(bootstrap(kafka), topics.input, partitions=4, settings={"cleanup.policy": "compact"})
    create_topic(bootstrap(kafka), topics.predictions, partitions=2, settings={"retention.ms": "1000"})
    create_topic(bootstrap(kafka), topics.dead_letters, partitions=6)
    report = ensure_topics(kafka, [topics], 4)
    assert deviations(report) == {
        (topics.input, "cleanup.policy"),
        (topics.predictions, "partitions"),
        (topics.predictions, "retention.ms"),
        (topics.predictions, "max.message.bytes"),
        (topics.dead_letters, "partitions"),
        (topics.dead_letters, "retention.ms"),
        (topics.dead_letters, "max.message.bytes"),
    }
    with pytest.raises(ConfigurationError) as refused:
        report.require_good()
    assert str(refused.value).count("\n") == len(report.deviations)
    assert "baton topics create --alter" in str(refused.value)
    assert "cannot take partitions away" in str(refused.value)


def test_what_kafka_can_mend_is_mended_when_asked_for(kafka: Options, topics: Topics) -> None:
    create_topic(bootstrap(kafka), topics.predictions, partitions=2, settings={"retention.ms": "1000"})
    report = ensure_topics(kafka, [topics], 4, altering=True)
    assert report.deviations == ()
    assert set(report.altered) == {
        f"{topics.predictions} {setting}" for setting in ("partitions", "retention.ms", "max.message.bytes")
    }


def test_a_larger_input_asks_for_larger_outputs(kafka: Options, topics: Topics) -> None:
    """Otherwise one oversized dead letter aborts its batch for ever (protocol B.8)."""
    settings = {"max.message.bytes": str(8 * 2**20)}
    create_topic(bootstrap(kafka), topics.input, partitions=1, settings=settings)
    for output in (topics.predictions, topics.dead_letters):
        create_topic(bootstrap(kafka), output, settings={"retention.ms": "-1"})
    report = ensure_topics(kafka, [topics])
    assert deviations(report) == {
        (topics.predictions, "max.message.bytes"),
        (topics.dead_letters, "max.message.bytes"),
    }
    assert ensure_topics(kafka, [topics], altering=True).deviations == ()


def test_outputs_that_are_created_for_a_larger_input_fit_it(kafka: Options, topics: Topics) -> None:
    settings = {"max.message.bytes": str(8 * 2**20)}
    create_topic(bootstrap(kafka), topics.input, settings=settings)
    assert ensure_topics(kafka, [topics]).deviations == ()


def test_longer_retention_and_no_limit_are_no_deviations(kafka: Options, topics: Topics) -> None:
    create_topic(bootstrap(kafka), topics.input, partitions=2, settings={"retention.ms": "-1"})
    assert ensure_topics(kafka, [topics], 2).deviations == ()


def test_outputs_have_as_many_partitions_as_the_input_whatever_that_is(kafka: Options, topics: Topics) -> None:
    ensure_topics(kafka, [topics], 2)
    admin = AdminClient({**kafka, "log_level": 4})
    from confluent_kafka.admin import NewPartitions

    admin.create_partitions([NewPartitions(topics.input, 3)])[topics.input].result(20)
    expected = {(topics.predictions, "partitions"), (topics.dead_letters, "partitions")}
    wait_until(lambda: deviations(check_topics(kafka, [topics])) == expected, 60, "the deviations are not found")
    assert ensure_topics(kafka, [topics], altering=True).deviations == ()


def test_an_input_that_is_there_is_taken_as_it_is(kafka: Options, topics: Topics) -> None:
    create_topic(bootstrap(kafka), topics.input, partitions=7)
    assert ensure_topics(kafka, [topics]).deviations == ()
    assert deviations(check_topics(kafka, [topics], 8)) == {
        (topic, "partitions") for topic in (topics.input, topics.predictions, topics.dead_letters)
    }


def test_checking_creates_nothing(kafka: Options, topics: Topics) -> None:
    report = check_topics(kafka, [topics])
    assert {topic for topic, setting in deviations(report) if not setting} >= {topics.input, topics.dead_letters}
    assert topics.input not in check_topics(kafka, [topics]).ids


def test_a_replication_that_the_cluster_cannot_give_is_a_mistake_of_the_configuration(
    kafka: Options, topics: Topics
) -> None:
    with pytest.raises(ConfigurationError, match="replication"):
        ensure_topics(kafka, [topics], 1, replication=3)
