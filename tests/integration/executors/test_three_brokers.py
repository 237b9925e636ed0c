"""The compose file's three brokers hold what was acknowledged, and go on without one of them."""

from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from scoring.contract.manifest import Topics
from scoring.topics import ensure_topics
from tests.support.arena import read_all
from tests.support.three_brokers import three_brokers

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(300)]
TOPICS = Topics.of("flight_delay")


def test_topics_have_three_copies_and_transactions_go_on_without_a_broker(tmp_path: Path) -> None:
    with three_brokers(tmp_path) as brokers:
        bootstrap = ",".join(broker.bootstrap for broker in brokers)
        kafka: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
        report = ensure_topics(kafka, [TOPICS], 4, replication=3)
        assert not report.deviations
        admin = AdminClient(kafka)
        found = admin.list_topics(timeout=20).topics
        for name in (TOPICS.input, TOPICS.predictions, "baton.notices"):
            assert all(len(partition.replicas) == 3 for partition in found[name].partitions.values())
        resource = ConfigResource(ResourceType.TOPIC, TOPICS.predictions)
        assert admin.describe_configs([resource])[resource].result(20)["min.insync.replicas"].value == "2"

        producer = Producer({**kafka, "transactional.id": "t", "transaction.timeout.ms": 60_000})
        producer.init_transactions(60)
        for stopped in (None, brokers[0]):
            if stopped is not None:
                stopped.kill()
            producer.begin_transaction()
            for number in range(100):
                producer.produce(TOPICS.predictions, b"%d" % number)
            producer.commit_transaction(60)
        left = ",".join(broker.bootstrap for broker in brokers[1:])
        assert len(read_all(left, TOPICS.predictions)) == 200
