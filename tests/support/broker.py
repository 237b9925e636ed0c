"""A real broker for the tests: one for the session, on free ports, with topics of each test's own."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import pytest

from local.kafka.broker import Broker
from local.ports import free_ports

PROJECT = Path(__file__).parent.parent.parent
KAFKA_JARS = PROJECT / ".venv" / "share" / "kafka"


class MakeTopic(Protocol):
    """Creates a topic whose name no other test has, and returns the name."""

    def __call__(self, name: str = "topic", *, partitions: int = 1, **settings: str) -> str: ...


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's broker, with the settings of fault tests. Do not stop it: see ``own_broker``."""
    with _broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker for this test alone, to be stopped, killed and started again (it takes some 4 s to start)."""
    with _broker(tmp_path / "kafka") as running:
        yield running


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Makes a name that nobody else has, for a model, a group or a transactional id."""
    return lambda prefix: f"{prefix}_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make_topic(broker: Broker, unique_name: Callable[[str], str]) -> MakeTopic:
    """Makes topics on the session's broker: ``make_topic("input", partitions=4, **{"cleanup.policy": "compact"})``."""

    def make(name: str = "topic", *, partitions: int = 1, **settings: str) -> str:
        topic = unique_name(name)
        create_topic(broker.bootstrap, topic, partitions=partitions, settings=settings)
        return topic

    return make


def create_topic(bootstrap: str, name: str, *, partitions: int = 1, settings: dict[str, str] | None = None) -> None:
    """Create the topic ``name``; raises KafkaException when it is there already."""
    from confluent_kafka.admin import AdminClient, NewTopic

    from scoring.kafka import topic_ids
    from tests.support.arena import wait_until

    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings or {})
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})  # its requests end with it
    created: dict[str, Future[None]] = admin.create_topics([topic])
    created[name].result(timeout=30)
    # The controller answers before the broker has heard of it.
    wait_until(lambda: topic_ids(admin, [name], 30.0)[name] is not None, 60.0, f"the broker does not know {name}")


def _broker(data_dir: Path) -> Broker:
    if not KAFKA_JARS.exists():
        pytest.fail(f"no Kafka jars in {KAFKA_JARS}; run `make venv` first")
    port, controller_port = free_ports(2)
    return Broker.for_faults(data_dir, ports=(port, controller_port), jars=KAFKA_JARS)
