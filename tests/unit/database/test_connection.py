"""How a SQLite database that is new is switched to its write-ahead log beside others who open it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scoring.contract.errors import Unavailable
from scoring.database import connection
from scoring.database.connection import Database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new.db"


@pytest.fixture
def writer(file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who writes to a new database before it is switched to a write-ahead log."""
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        opened.execute("begin immediate")
        opened.execute("create table anything (a)")
        yield opened


def journal(file: Path) -> str:
    database = Database.open(f"sqlite:///{file}", "ledger", "baton ledger init")
    with database.reading() as reader:
        return str(reader.exec_driver_sql("pragma journal_mode").scalar_one())


def test_a_new_database_is_switched_once_a_writer_has_finished(
    file: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            writer.execute("commit")

    monkeypatch.setattr(time, "sleep", wait)
    assert journal(file) == "wal"
    assert len(waits) == 3


def test_a_writer_that_never_finishes_is_reported(
    file: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 100)
    with pytest.raises(Unavailable, match=r"the ledger at .*database is locked"):
        journal(file)
    assert writer.in_transaction
