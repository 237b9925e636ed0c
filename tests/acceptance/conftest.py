"""A stream of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.kafka.broker import Broker
from tests.support.arena import Arena


@pytest.fixture
def arena(broker: Broker, tmp_path: Path) -> Iterator[Arena]:
    ground = Arena(broker.bootstrap, tmp_path)
    yield ground
    ground.close()
