"""Streams of their own: on the session's broker, and on a broker that may be stopped and killed."""

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


@pytest.fixture
def own_ground(own_broker: Broker, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(own_broker.bootstrap, tmp_path)
    yield made
    made.close()
