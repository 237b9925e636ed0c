"""What ends a backfill on its way: it says so in words, exits with 1, leaves nobody behind and goes on afterwards."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scoring.backfill.catalog import Catalog
from scoring.backfill.chunks import Place
from scoring.contract.clock import rfc3339
from tests.support.backfills import rows_of
from tests.support.deciders import PROJECT
from tests.support.past import MODEL, RECORDS, Past, day, make_past, with_champions
from tests.support.postgres import PostgresServer, create_database

WORDS = (MODEL, "--from", rfc3339(day(0)), "--to", rfc3339(day(4)), "--chunk", "10min", "--name", "ended")
CHUNKS = 4 * 144
PATIENCE_S = 100


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return with_champions(make_past(tmp_path))


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of the test's own; a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="baton-postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        yield server
        server.stop()


def begin(past: Past, *arguments: str) -> "subprocess.Popen[str]":
    # A shell starts what it runs in the background deaf to Ctrl-C, and these tests may be run there.
    listening = ("env", "--default-signal=INT")
    command = [*listening, sys.executable, "-m", "scoring", "backfill", *WORDS, *arguments]
    environment = {**os.environ, **past.environment}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]", act: Callable[[], object], done: Callable[[], int]) -> str:
    """Act once some chunks are done; what it said when it had ended with 1, and all that it started."""
    try:
        while process.poll() is None and not done():
            pass
        assert process.poll() is None, process.communicate()
        family = psutil.Process(process.pid).children(recursive=True)
        act()
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, PATIENCE_S)
    assert alive == []
    return said


def finished(past: Past, *arguments: str) -> Any:
    """It is run again, to its end."""
    process = begin(past, *arguments, "--json")
    answer, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return json.loads(answer)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("to_all", [True, False], ids=["ctrl-c", "sigterm"])
def test_two_processes_that_are_told_to_stop_end_in_words_and_go_on(past: Past, *, to_all: bool) -> None:
    """A terminal sends Ctrl-C to all of them at once, also to those that are still starting."""
    where = Place(model=MODEL, name="ended", url=past.environment["BATON_PREDICTIONS_URL"])
    process = begin(past, "--processes", "2")

    def stop() -> None:
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()

    said = ended(process, stop, lambda: Catalog(where.url or "").done(MODEL, "ended"))
    assert said.splitlines()[-1] == "baton: stopped; run the same command again to go on"
    told = finished(past, "--processes", "2")
    assert 0 < told["found"] < told["chunks"] == CHUNKS
    assert len(rows_of(where)) == told["rows"] == RECORDS


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize("output", [True, False], ids=["folder", "table"])
def test_a_disk_without_room_is_waited_for_then_named_and_gone_on_with(
    past: Past, tmp_path: Path, *, output: bool
) -> None:
    """No file may grow any more, which fails at the same calls as a full disk."""
    folder = tmp_path / "out"
    words = ("--output", str(folder), "--processes", "1") if output else ("--processes", "1")
    process = begin(past, *words)

    def done() -> int:
        if output:
            return len(list(folder.glob("part-*.parquet")))
        return Catalog(past.environment["BATON_PREDICTIONS_URL"]).done(MODEL, "ended")

    def fill() -> None:
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))

    said = ended(process, fill, done)
    named = f"{folder}/part-" if output else "the predictions' database at sqlite"
    assert named in said.splitlines()[-1]
    assert list(folder.glob("*.partial")) == []
    told = finished(past, *words)
    assert 0 < told["found"] < told["chunks"] == CHUNKS
    assert told["rows"] == RECORDS


@pytest.mark.faults
@pytest.mark.timeout(240)
def test_a_database_that_goes_away_is_waited_for_then_named_and_gone_on_with(
    past: Past, server: PostgresServer
) -> None:
    url = create_database(server.folder)
    past.environment["BATON_PREDICTIONS_URL"] = url
    process = begin(past, "--processes", "1")
    said = ended(process, server.kill, lambda: Catalog(url).done(MODEL, "ended"))
    assert "the predictions' database at postgresql" in said.splitlines()[-1]
    server.start()
    told = finished(past, "--processes", "1")
    assert 0 < told["found"] < told["chunks"] == CHUNKS
    assert len(rows_of(Place(model=MODEL, name="ended", url=url))) == told["rows"] == RECORDS
