"""A database that goes away under a sink: it says so, keeps nothing in memory, and catches up by itself."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS, open_database
from scoring.predictions.reading import Predictions
from tests.support.postgres import PostgresServer, create_database
from tests.support.predicted_stream import PredictedStream
from tests.support.sinks import Sinks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(360)]
Fill = Callable[[str], Sinks]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="baton-postgres-"))
    made = PostgresServer(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server_url(server: PostgresServer) -> str:
    url = create_database(server.folder)
    database = open_database(url)
    migrate(database, MIGRATIONS)
    database.engine.dispose()
    return url


def refuses(told: Any) -> bool:
    return "predictions database at" in str(told["why_not"])


def test_a_server_that_is_killed_is_waited_for_and_everything_is_caught_up(
    server: PostgresServer, server_url: str, stream: PredictedStream, fill: Fill
) -> None:
    sinks = fill(server_url)
    process = sinks.start()
    stream.feed(1_000)
    sinks.finish(stream)
    for _ in range(2):
        server.kill()
        stream.feed(2_000)
        sinks.wait_for_probe(lambda status, told: status == 503 and refuses(told), "it does not say what it waits for")
        assert "baton_sink_database_up 0.0" in sinks.probe("/metrics")[1]
        assert sinks.probe("/livez")[0] == 200
        server.start()
        sinks.finish(stream)
        sinks.wait_for_probe(lambda status, _: status == 200, "it is not ready again")
    assert process.poll() is None


def test_a_sink_may_start_before_its_database(
    server: PostgresServer, server_url: str, stream: PredictedStream, fill: Fill
) -> None:
    server.kill()
    sinks = fill(server_url)
    sinks.start()
    stream.feed(500)
    sinks.wait_for_probe(lambda status, told: status == 503 and refuses(told), "it does not say what it waits for")
    server.start()
    sinks.finish(stream)


def test_a_reader_goes_on_after_the_server_was_started_again(server: PostgresServer, server_url: str) -> None:
    predictions = Predictions.open(server_url)
    assert predictions.latest("small", "a") is None
    server.kill()
    server.start()
    assert predictions.latest("small", "a") is None
    predictions.close()


def test_tables_that_are_locked_for_long_are_waited_for(server_url: str, stream: PredictedStream, fill: Fill) -> None:
    sinks = fill(server_url)
    sinks.start()
    stream.feed(500)
    sinks.finish(stream)
    address = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        connection.execute("lock table sink_offsets in access exclusive mode")
        stream.feed(500)
        sinks.wait_for_log("lock timeout", timeout_s=60)
        connection.rollback()
    sinks.finish(stream)
