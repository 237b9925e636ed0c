import pytest

from local.kafka.broker import Broker
from scoring.contract.manifest import Topics
from scoring.kafka import Options
from scoring.topics import ensure_topics


@pytest.fixture
def kafka(broker: Broker) -> Options:
    """Options that reach the session's broker."""
    return {"bootstrap.servers": broker.bootstrap}


@pytest.fixture
def control_topics(kafka: Options) -> None:
    """The topics that all models share."""
    no_models: list[Topics] = []
    ensure_topics(kafka, no_models, partitions=1)
