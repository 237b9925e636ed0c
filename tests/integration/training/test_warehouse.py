from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from local import warehouse
from local.warehouse import flights, weather

NEW_YORK = ZoneInfo("America/New_York")


def rows(path: Path, query: sa.Select[Any]) -> list[dict[str, object]]:
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
    finally:
        engine.dispose()


def flight(path: Path, flight_id: str) -> dict[str, object]:
    (found,) = rows(path, sa.select(flights).where(flights.c.flight_id == flight_id))
    return found


def test_every_flight_and_every_hour_of_weather_is_there_and_filling_again_changes_nothing(
    warehouse_file: Path,
) -> None:
    before = warehouse_file.stat().st_mtime_ns
    assert warehouse.fill(f"sqlite:///{warehouse_file}") == (336_776, 26_115)
    assert warehouse_file.stat().st_mtime_ns == before


def test_times_are_those_of_the_clocks_at_both_airports_in_winter_and_in_summer(warehouse_file: Path) -> None:
    winter = flight(warehouse_file, "2013-01-01-UA-1545-EWR")  # 05:15 in New York to 08:19 in Houston
    assert winter["scheduled_departure"] == datetime(2013, 1, 1, 10, 15)  # noqa: DTZ001  SQLite keeps UTC without offset
    assert winter["scheduled_arrival"] == datetime(2013, 1, 1, 14, 19)  # noqa: DTZ001
    assert winter["arrived_at"] == datetime(2013, 1, 1, 14, 30)  # noqa: DTZ001
    (summer,) = rows(
        warehouse_file,
        sa.select(flights)
        .where(flights.c.scheduled_departure >= datetime(2013, 7, 1, tzinfo=UTC), flights.c.dest == "HNL")
        .order_by(flights.c.scheduled_departure)
        .limit(1),
    )
    took = summer["scheduled_arrival"] - summer["scheduled_departure"]  # type: ignore[operator]
    assert timedelta(hours=10) < took < timedelta(hours=12)


def test_flights_are_between_their_local_days(warehouse_file: Path) -> None:
    ends = sa.select(sa.func.min(flights.c.scheduled_departure), sa.func.max(flights.c.scheduled_departure))
    (found,) = rows(warehouse_file, ends)
    first, last = (moment.replace(tzinfo=UTC).astimezone(NEW_YORK) for moment in found.values())  # type: ignore[attr-defined]
    assert (first.date().isoformat(), last.date().isoformat()) == ("2013-01-01", "2013-12-31")


def test_cancelled_flights_have_no_arrival(warehouse_file: Path) -> None:
    missing = sa.select(sa.func.count().label("n")).select_from(flights).where(flights.c.arr_delay.is_(None))
    assert rows(warehouse_file, missing) == [{"n": 9_430}]


def test_the_weather_has_one_row_for_each_airport_and_hour(warehouse_file: Path) -> None:
    keys = sa.select(weather.c.origin, weather.c.time_hour).distinct().subquery()
    assert rows(warehouse_file, sa.select(sa.func.count().label("n")).select_from(keys)) == [{"n": 26_115}]


def test_damage_is_undone_by_repair_to_the_last_value(warehouse_file: Path, tmp_path: Path) -> None:
    copied = tmp_path / "warehouse.db"
    copied.write_bytes(warehouse_file.read_bytes())
    url = f"sqlite:///{copied}"
    start, end = datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC)
    (before,) = rows(copied, sa.select(flights).where(flights.c.scheduled_departure >= start).limit(1))
    for _ in range(2):
        assert warehouse.damage(url, start, end) == 28_783
        damaged = flight(copied, str(before["flight_id"]))
        assert damaged["carrier"] == ""
        assert damaged["distance"] == before["distance"] * warehouse.KILOMETRES_PER_MILE  # type: ignore[operator]
    assert warehouse.repair(url) == 28_783
    assert flight(copied, str(before["flight_id"])) == before
    assert warehouse.repair(url) == 0
