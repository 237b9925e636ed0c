from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.source import Source
from scoring.lookups.database import Engines
from scoring.sources.sql import SqlReader, stream_rows
from tests.support.trips import by_id, expected, fill_table, pull_of, table, trips


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    fill_table(url, trips())
    opened = Engines({"warehouse": url}.__getitem__)
    yield opened
    opened.close()


def test_the_rows_of_the_interval_come_back_as_columns(engines: Engines) -> None:
    assert by_id(SqlReader(engines).read(pull_of(table()))) == expected(trips())


def test_without_an_event_time_every_row_comes_back(engines: Engines) -> None:
    assert len(SqlReader(engines).read(pull_of(table(), event_time=None))["trip_id"]) == 200


def test_an_interval_without_rows_is_empty_columns(engines: Engines) -> None:
    pull = pull_of(table())
    found = SqlReader(engines).read(msgspec.structs.replace(pull, end=pull.start))
    assert found["trip_id"] == []
    assert np.asarray(found["miles"]).shape == (0,)


def test_rows_are_streamed_in_the_order_of_their_time(engines: Engines) -> None:
    rows = list(stream_rows(engines, pull_of(table())))
    assert [row["trip_id"] for row in rows] == [row[0] for row in expected(trips())]
    assert [row["pickup"] for row in rows] == [row[1] for row in expected(trips())]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (table(table="rides", name="rides of old"), "source 'rides of old': the database refuses the query"),
        (table(columns=(("trip_id", "id"), ("pickup", "at"))), "source 'trips': the database refuses .*at"),
        (table(columns=(("miles", "city"), ("pickup", "pickup"))), "declared as number holds something else"),
    ],
)
def test_what_a_person_has_to_change_is_told(engines: Engines, source: Source, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        SqlReader(engines).read(pull_of(source))


def test_a_database_that_cannot_be_opened_may_be_there_later(tmp_path: Path) -> None:
    engines = Engines({"warehouse": f"sqlite:///{tmp_path}/none/warehouse.db"}.__getitem__)
    with pytest.raises(Unavailable, match="source 'trips': the database cannot be read now"):
        SqlReader(engines).read(pull_of(table()))


def test_a_read_that_takes_longer_than_its_timeout_is_given_up(engines: Engines) -> None:
    with pytest.raises(Unavailable, match="not read within its 1e-09 s; retry later, or raise its timeout"):
        SqlReader(engines).read(pull_of(table(timeout_s=1e-9)))
