import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from scoring.contract.asof import found_column
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import FeatureSchema, Field, FieldType, IsMissing, LookupField, Number, TableLookup
from scoring.contract.lookup import OnMiss, OnOutage
from scoring.lookups.patience import Patience
from scoring.lookups.sources import Late
from scoring.lookups.sql import RETRY_S, SqlLookups
from scoring.lookups.table import whole_table

HOUR = 3600.0


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def schema(**changes: Any) -> FeatureSchema:
    lookup: dict[str, Any] = {
        "name": "weather",
        "connection": "warehouse",
        "table": "weather",
        "match": (("station", "origin"),),
        "valid_at": "hour",
        "lag_s": HOUR,
        "resolution_s": HOUR,
        "fields": (LookupField(name="temp"), LookupField(name="sky", type=FieldType.STRING)),
    }
    return FeatureSchema(
        key="id",
        event_time="at",
        fields=(
            Field(name="id", type=FieldType.STRING, required=True),
            Field(name="at", type=FieldType.TIME, required=True),
            Field(name="origin", type=FieldType.STRING),
        ),
        lookups=(TableLookup(**{**lookup, **changes}),),
        features=(Number(name="temp", of="weather.temp"),),
    )


def records(*pairs: tuple[str | None, float]) -> tuple[dict[str, Column], int]:
    return {"origin": [origin for origin, _ in pairs], "at": np.array([at for _, at in pairs])}, len(pairs)


class Database:
    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.engine = sa.create_engine(self.url)
        self.path = path
        with self.engine.begin() as connection:
            connection.execute(sa.text("create table weather (station text, hour timestamp, temp real, sky text)"))

    def add(self, station: str, hour: int, temp: float | None, sky: str | None = "clear") -> None:
        values = {"station": station, "hour": f"1970-01-01 {hour:02}:00:00.000000", "temp": temp, "sky": sky}
        with self.engine.begin() as connection:
            connection.execute(sa.text("insert into weather values (:station, :hour, :temp, :sky)"), values)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "warehouse.db")
    yield made
    made.engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lookups(database: Database, clock: Clock) -> Iterator[SqlLookups]:
    source = SqlLookups({"warehouse": database.url}.__getitem__, time_to_live_s=60.0, capacity_keys=4, clock_s=clock)
    yield source
    source.close()


def temps(source: SqlLookups, *pairs: tuple[str | None, float], using: FeatureSchema | None = None) -> list[float]:
    columns, rows = records(*pairs)
    found = source.resolve(using or schema(), columns, rows)["weather.temp"]
    return [float(number) for number in np.asarray(found, dtype=float)]


def test_a_micro_batch_costs_one_query_however_many_keys_it_asks_for(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, 10.0)
    database.add("JFK", 1, 11.0)
    database.add("JFK", 2, 12.0)
    pairs = [("EWR", 2 * HOUR), ("JFK", 2 * HOUR), ("JFK", 3 * HOUR + 5), ("XXX", 2 * HOUR), (None, 2 * HOUR)]
    found = lookups.resolve(schema(), *records(*pairs))
    np.testing.assert_array_equal(np.asarray(found["weather.temp"], float), [10.0, 11.0, 12.0, np.nan, np.nan])
    assert found["weather.sky"] == ["clear", "clear", "clear", None, None]
    assert lookups.queries == 1


def test_what_was_answered_is_not_asked_again_not_even_that_there_is_nothing(lookups: SqlLookups) -> None:
    for _ in range(3):
        assert np.isnan(temps(lookups, ("EWR", 2 * HOUR), ("EWR", 2 * HOUR + 1800)))[0]
    assert lookups.queries == 1


def test_only_what_is_missing_is_asked_for(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, 10.0)
    temps(lookups, ("EWR", 2 * HOUR))
    database.add("EWR", 2, 20.0)
    assert temps(lookups, ("EWR", 2 * HOUR), ("EWR", 3 * HOUR)) == [10.0, 20.0]
    assert lookups.queries == 2


def test_lookups_that_no_version_has_any_more_are_forgotten(
    database: Database, lookups: SqlLookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoring.lookups.sql.KEPT_LOOKUPS", 2)
    database.add("EWR", 1, 10.0)
    versions = [schema(lag_s=float(lag)) for lag in range(5)]
    for _ in range(2):
        assert [temps(lookups, ("EWR", 2 * HOUR), using=version)[0] for version in versions] == [10.0] * 5
    assert len(lookups._readers) == 2


def test_an_answer_is_believed_for_its_time_to_live(database: Database, lookups: SqlLookups, clock: Clock) -> None:
    temps(lookups, ("EWR", 2 * HOUR))
    database.add("EWR", 1, 10.0)
    clock.now_s = 59.9
    assert np.isnan(temps(lookups, ("EWR", 2 * HOUR)))[0]
    clock.now_s = 60.0
    assert temps(lookups, ("EWR", 2 * HOUR)) == [10.0]


def test_the_cache_is_bounded_and_a_batch_may_be_larger(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, 10.0)
    pairs = [("EWR", (2 + hour) * HOUR) for hour in range(9)]
    assert temps(lookups, *pairs) == [10.0] * 9
    (reader,) = lookups._readers.values()
    assert len(reader._cache) == 4


def test_a_lookup_without_records_asks_nothing(lookups: SqlLookups) -> None:
    assert temps(lookups) == []
    assert lookups.queries == 0


@pytest.mark.parametrize("word", ["\0", "a\0b", "\ud800"])
def test_a_word_that_no_database_can_hold_is_missing_and_harms_nobody(
    word: str, database: Database, lookups: SqlLookups
) -> None:
    database.add("EWR", 1, 10.0)
    found = temps(lookups, (word, 2 * HOUR), ("EWR", 2 * HOUR))
    assert np.isnan(found[0])
    assert found[1] == 10.0


@pytest.mark.parametrize("at", [-62_135_596_800.0, 253_402_300_799.0])
def test_the_ends_of_time_are_asked_for_like_any_other_moment(at: float, lookups: SqlLookups) -> None:
    assert np.isnan(temps(lookups, ("EWR", at)))[0]


def test_a_database_that_cannot_be_read_is_an_outage_and_nothing_is_remembered(
    database: Database, lookups: SqlLookups
) -> None:
    database.add("EWR", 1, 10.0)
    database.engine.dispose()
    content = database.path.read_bytes()
    database.path.unlink()
    database.path.mkdir()
    with pytest.raises(Unavailable, match="lookup 'weather': the database cannot be read now"):
        temps(lookups, ("EWR", 2 * HOUR))
    database.path.rmdir()
    database.path.write_bytes(content)
    assert temps(lookups, ("EWR", 2 * HOUR)) == [10.0]


@pytest.mark.parametrize("change", [{"table": "wether"}, {"valid_at": "hours"}, {"match": (("place", "origin"),)}])
def test_a_table_or_column_that_is_not_there_is_a_mistake_of_the_configuration(
    change: dict[str, Any], lookups: SqlLookups
) -> None:
    with pytest.raises(ConfigurationError, match="check table, columns and types"):
        temps(lookups, ("EWR", 2 * HOUR), using=schema(**change))


def test_an_unknown_connection_is_named(database: Database) -> None:
    def unknown(name: str) -> str:
        raise ConfigurationError(f"connection {name!r} is unknown")

    with pytest.raises(ConfigurationError, match="connection 'warehouse' is unknown"):
        temps(SqlLookups(unknown), ("EWR", 2 * HOUR))


def test_a_column_of_words_where_numbers_were_declared_is_told(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, 10.0, "rain")
    with pytest.raises(ConfigurationError, match="declared as number holds something else"):
        lookups.resolve(schema(fields=(LookupField(name="temp"), LookupField(name="sky"))), *records(("EWR", 2 * HOUR)))


def test_a_matched_column_of_words_where_numbers_were_declared_is_told(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, 10.0, "rain")
    lookup = schema().lookups[0]
    assert isinstance(lookup, TableLookup)
    with (
        database.engine.connect() as connection,
        pytest.raises(ConfigurationError, match="matched with a number holds something else"),
    ):
        whole_table(connection, lookup, [FieldType.NUMBER])


def test_a_source_is_made_when_a_lookup_of_its_kind_is_met_and_once(lookups: SqlLookups) -> None:
    made: list[SqlLookups] = []

    def make() -> SqlLookups:
        made.append(lookups)
        return lookups

    late = Late(TableLookup, make)
    without = msgspec.structs.replace(schema(), lookups=(), features=(IsMissing(name="origin", of="origin"),))
    assert late.resolve(without, {}, 0) == {}
    assert made == []
    for _ in range(2):
        assert len(temps(late, ("EWR", 2 * HOUR))) == 1  # type: ignore[arg-type]
    assert len(made) == 1


def test_infinity_is_missing_for_no_record_could_carry_it(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, float("inf"))
    assert np.isnan(temps(lookups, ("EWR", 2 * HOUR)))[0]


def test_a_time_that_cannot_be_read_as_one_is_told(database: Database, lookups: SqlLookups) -> None:
    fields = (LookupField(name="temp"), LookupField(name="sky", type=FieldType.TIME))
    database.add("EWR", 1, 10.0, "rain")
    with pytest.raises(ConfigurationError, match="lookup 'weather': a value cannot be read"):
        lookups.resolve(schema(fields=fields), *records(("EWR", 2 * HOUR)))


# --- misses and outages -------------------------------------------------------------------------------------------


class Away:
    """A database that may be locked, so that nobody can read it for as long as its lock is held."""

    def __init__(self, database: Database) -> None:
        self.connection = database.engine.connect()
        self.connection.exec_driver_sql("begin exclusive")

    def over(self) -> None:
        self.connection.rollback()
        self.connection.close()


def told(source: SqlLookups, using: FeatureSchema, *pairs: tuple[str | None, float]) -> tuple[list[float], list[float]]:
    found = source.resolve(using, *records(*pairs))
    values, rows = (np.asarray(found[name], float).tolist() for name in ("weather.temp", found_column("weather")))
    return values, rows


def test_a_miss_is_told_where_it_has_an_answer(database: Database, lookups: SqlLookups) -> None:
    database.add("EWR", 1, None)
    using = schema(on_miss=OnMiss.DEAD_LETTER)
    _, found = told(lookups, using, ("EWR", 2 * HOUR), ("JFK", 2 * HOUR), (None, 2 * HOUR))
    assert found == [1.0, 0.0, 0.0]
    assert found_column("weather") not in lookups.resolve(schema(), *records(("EWR", 2 * HOUR)))


def test_a_database_that_does_not_answer_in_time_is_away_and_the_records_wait(
    database: Database, lookups: SqlLookups
) -> None:
    away = Away(database)
    try:
        with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
            temps(lookups, ("EWR", 2 * HOUR), using=schema(timeout_s=0.05))
        with pytest.raises(Unavailable, match="earlier query"):
            temps(lookups, ("EWR", 2 * HOUR), using=schema(timeout_s=0.05))
    finally:
        away.over()


@pytest.mark.parametrize("answer", [OnOutage.MISSING, OnOutage.DEAD_LETTER])
def test_during_an_outage_what_the_cache_knows_is_used_and_the_database_left_alone(
    answer: OnOutage, database: Database, lookups: SqlLookups, clock: Clock
) -> None:
    database.add("EWR", 1, 10.0)
    using = schema(on_outage=answer, timeout_s=1.0)
    assert told(lookups, using, ("EWR", 2 * HOUR)) == ([10.0], [1.0])
    away = Away(database)
    try:
        values, found = told(lookups, using, ("EWR", 2 * HOUR), ("JFK", 2 * HOUR), ("EWR", 3 * HOUR), (None, 0.0))
        np.testing.assert_equal(values, [10.0, np.nan, np.nan, np.nan])
        np.testing.assert_equal(found, [1.0, np.nan, np.nan, 0.0])
        asked = lookups.queries
        told(lookups, using, ("JFK", 2 * HOUR))
        assert lookups.queries == asked
    finally:
        away.over()
    (reader,) = lookups._readers.values()
    assert reader._patience._thread is not None
    reader._patience._thread.join(10)
    clock.now_s = RETRY_S + 0.1
    assert told(lookups, using, ("EWR", 3 * HOUR)) == ([10.0], [1.0])


def test_a_table_that_is_not_there_is_no_outage(database: Database, lookups: SqlLookups) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        lookups.resolve(schema(table="nowhere", on_outage=OnOutage.MISSING), *records(("EWR", 2 * HOUR)))
    assert database.path.exists()


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    gate, patience = threading.Event(), Patience[int]("the oracle", 0.02)
    with pytest.raises(Unavailable, match="the oracle: no answer"):
        patience.ask(lambda: 1 if gate.wait(10) else 0)
    gate.set()
    assert patience._thread is not None
    patience._thread.join(10)
    patience._timeout_s = 10.0  # a busy host takes its time to start a thread
    assert patience.ask(lambda: 2) == 2
