"""A stream of predictions of its own for each test, tables on SQLite or PostgreSQL, and sinks that fill them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.kafka.broker import Broker
from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS, open_database
from tests.support.postgres import MakeDatabase
from tests.support.predicted_stream import PredictedStream
from tests.support.sinks import Sinks


def made_tables(url: str) -> str:
    """Make the tables; returns the URL."""
    database = open_database(url)
    migrate(database, MIGRATIONS)
    database.engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return made_tables(f"sqlite:///{tmp_path / 'predictions.db'}")
    make: MakeDatabase = request.getfixturevalue("make_postgres_database")
    return made_tables(make())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return made_tables(f"sqlite:///{tmp_path / 'predictions.db'}")


@pytest.fixture
def stream(broker: Broker) -> Iterator[PredictedStream]:
    made = PredictedStream(broker.bootstrap)
    yield made
    made.delete()


@pytest.fixture
def fill(broker: Broker, stream: PredictedStream, tmp_path: Path) -> Iterator[Callable[[str], Sinks]]:
    """Makes sinks of the stream that fill the tables at a URL."""
    made: list[Sinks] = []

    def make(url: str) -> Sinks:
        made.append(Sinks(broker.bootstrap, url, stream.model, tmp_path))
        return made[-1]

    yield make
    for sinks in made:
        sinks.close()
