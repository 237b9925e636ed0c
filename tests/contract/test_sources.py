"""Every kind of source gives the same rows as the same columns, and what is kept of them is the same file."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from scoring.contract.clock import rfc3339
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.source import Api, Offset, Paging, Source
from scoring.sources.open import Sources
from scoring.sources.port import Pull
from scoring.sources.staged import Staging
from tests.support.http_api import HttpApi
from tests.support.postgres import MakeDatabase
from tests.support.trips import (
    COLUMNS,
    KINDS,
    Trip,
    by_id,
    expected,
    files,
    fill_table,
    pull_of,
    table,
    trips,
    write_csv,
    write_parquet,
)

Opened = tuple[Sources, Source]
NO_CONNECTIONS: dict[str, str] = {}
SURE = ["sqlite", "parquet", "csv", "csv.gz", "several files", "api", "api with pages"]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str, list[Trip]], Opened]]:
    """Puts rows into a source of a kind; returns it with what reads it."""
    with ExitStack() as stack:

        def make(kind: str, rows: list[Trip]) -> Opened:
            folder = tmp_path / f"{kind} {len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            if kind == "postgresql":
                database: MakeDatabase = request.getfixturevalue("make_postgres_database")
                return _table(stack, database(), rows)
            if kind == "sqlite":
                return _table(stack, f"sqlite:///{folder / 'warehouse.db'}", rows)
            if kind.startswith("api"):
                return _api(stack, rows, Offset(limit=50) if "pages" in kind else None)
            return stack.enter_context(Sources(NO_CONNECTIONS.__getitem__)), _files(folder, kind, rows)

        yield make


def _table(stack: ExitStack, url: str, rows: list[Trip]) -> Opened:
    fill_table(url, rows)
    return stack.enter_context(Sources({"warehouse": url}.__getitem__)), table()


def _api(stack: ExitStack, rows: list[Trip], paging: Paging | None) -> Opened:
    items = [{**row, "pickup": rfc3339(row["pickup"])} for row in rows]
    api = stack.enter_context(HttpApi(items, "offset" if paging else "none").served())
    origin = Api(path="v1/trips", items="data.items", paging=paging)
    source = Source(connection="crm", table="", columns=COLUMNS, origin=origin)
    return stack.enter_context(Sources({"crm": api.url}.__getitem__, api.clock.clock)), source


def _files(folder: Path, kind: str, rows: list[Trip]) -> Source:
    if kind == "several files":
        write_csv(folder / "a.csv", rows[150:])
        write_parquet(folder / "b.parquet", rows[:70], pickup=pa.timestamp("ns", tz="UTC"))
        write_parquet(folder / "c.parquet", rows[70:150], city=pa.dictionary(pa.int8(), pa.string()))
        return files(f"{folder}/*")
    (write_parquet if kind == "parquet" else write_csv)(folder / f"trips.{kind}", rows)
    return files(str(folder / f"trips.{kind}"))


def shuffled(seed: int) -> list[Trip]:
    rows = trips()
    random.Random(seed).shuffle(rows)
    return rows


@pytest.mark.parametrize("kind", [*SURE, "postgresql"])
def test_a_source_gives_the_rows_of_the_interval_typed_as_declared(kind: str, make: Callable[..., Opened]) -> None:
    reader, source = make(kind, shuffled(1))
    found = reader.read(pull_of(source))
    assert by_id(found) == expected(trips())
    assert [*found] == [*KINDS]
    assert all(isinstance(found[name], np.ndarray) for name in ("pickup", "miles", "shared"))


@pytest.mark.parametrize("kind", [*SURE, "postgresql"])
def test_a_source_streams_the_same_rows_in_the_order_of_their_time(kind: str, make: Callable[..., Opened]) -> None:
    reader, source = make(kind, shuffled(2))
    streamed = list(reader.stream(pull_of(source)))
    assert [row["trip_id"] for row in streamed] == [row[0] for row in expected(trips())]
    assert [row["pickup"] for row in streamed] == [row[1] for row in expected(trips())]


@pytest.mark.parametrize("kind", [*SURE, "postgresql"])
def test_an_empty_interval_is_empty_columns(kind: str, make: Callable[..., Opened]) -> None:
    reader, source = make(kind, trips())
    pull = pull_of(source)
    found = reader.read(msgspec.structs.replace(pull, end=pull.start))
    assert {name: len(column) for name, column in found.items()} == dict.fromkeys(KINDS, 0)


@pytest.mark.parametrize("kind", SURE)
def test_a_column_of_another_type_is_an_error_for_a_person(kind: str, make: Callable[..., Opened]) -> None:
    reader, source = make(kind, trips())
    columns = tuple((field, "city" if field == "miles" else column) for field, column in COLUMNS)
    with pytest.raises(ConfigurationError):
        reader.read(pull_of(msgspec.structs.replace(source, columns=columns)))


def test_a_database_stops_a_read_that_takes_longer_than_its_timeout(make_postgres_database: MakeDatabase) -> None:
    url = make_postgres_database()
    fill_table(url, trips())
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE VIEW slow AS SELECT trips.* FROM trips, pg_sleep(30)"))
    engine.dispose()
    with Sources({"warehouse": url}.__getitem__) as reader, pytest.raises(Unavailable, match="statement timeout"):
        reader.read(pull_of(table(table="slow", timeout_s=0.2)))


def test_the_same_rows_are_the_same_file_whatever_kept_them_and_in_whatever_order(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[..., Opened]
) -> None:
    def kept(kind: str, seed: int) -> str:
        reader, source = make(kind, shuffled(seed))
        pull: Pull = pull_of(source)
        return Staging(tmp_path_factory.mktemp("staging")).pull(pull, reader).record.sha256

    found: dict[str, Any] = {kind: kept(kind, seed) for seed, kind in enumerate([*SURE, "postgresql", "sqlite"])}
    assert len(set(found.values())) == 1, found
