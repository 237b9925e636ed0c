"""A broker with the shared topics, and the settings by which commands, tasks and triggers reach it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from local.kafka.broker import Broker
from scoring.contract.manifest import Topics
from scoring.topics import ensure_topics
from tests.support.arena import KEY
from tests.support.retrains import Inbox

# Airflow and what it imports warn of things that nobody here can mend; our own warnings stay errors.
_WARNINGS = ("ignore", r"error::Warning:(baton_airflow|training|scoring)(\..*)?")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.filterwarnings(*_WARNINGS))


@pytest.fixture
def inbox(broker: Broker, unique_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """The requests of a model that nobody else has."""
    kafka, no_models = {"bootstrap.servers": broker.bootstrap}, list[Topics]()
    ensure_topics(kafka, no_models, partitions=1)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"active": "k1", "keys": {"k1": KEY}}))
    monkeypatch.setenv("BATON_KAFKA_BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("BATON_SIGNING_KEYS_FILE", str(keys))
    return Inbox(kafka, keys, unique_name("m"))
