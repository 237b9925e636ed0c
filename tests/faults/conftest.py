"""Streams of their own: on the session's broker, and on a broker that may be stopped and killed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.kafka.broker import Broker
from tests.support.ground import Ground

if TYPE_CHECKING:
    from tests.faults.airflow.stage import Stage


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


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stage"]:
    """A real Airflow beside simulated workers; of a module, for nothing else should run beside it for long."""
    from tests.faults.airflow.stage import airflow_stage

    with airflow_stage(tmp_path_factory.mktemp("stage"), database="sqlite", lanes=1) as opened:
        yield opened


@pytest.fixture
def model(stage: "Stage") -> str:
    (name,) = stage.house.models
    return name
