"""A stream of its own for each test, with processes of the API beside its workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.kafka.broker import Broker
from tests.support.api_ground import ApiGround


@pytest.fixture
def ground(broker: Broker, tmp_path: Path) -> Iterator[ApiGround]:
    made = ApiGround(broker.bootstrap, tmp_path)
    yield made
    made.close()
