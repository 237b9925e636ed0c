"""A stream of its own for each test, on the session's broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.kafka.broker import Broker
from tests.support.ground import Ground


@pytest.fixture
def ground(broker: Broker, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(broker.bootstrap, tmp_path)
    yield made
    made.close()
