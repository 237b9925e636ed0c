from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Columns
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.source import Files, Join, Source
from scoring.sources.joined import assemble, plan
from tests.support.trips import END, START

KINDS = {
    "trip_id": FieldType.STRING,
    "pickup": FieldType.TIME,
    "station": FieldType.NUMBER,
    "wind": FieldType.NUMBER,
    "sky": FieldType.STRING,
    "fare": FieldType.NUMBER,
}
TRIPS = Source(
    connection="warehouse", table="trips", columns=(("trip_id", "id"), ("pickup", "pickup"), ("station", "station"))
)
WEATHER = Source(
    connection="",
    table="",
    name="weather",
    origin=Files(url="s3://lake/*.parquet"),
    columns=(("wind", "wind_speed"), ("sky", "sky")),
    join=Join(match=(("station", "station"),), valid_at="at", known_at="published", lag_s=60.0, max_age_s=3600.0),
)
FARES = Source(
    connection="billing", table="fares", columns=(("fare", "amount"),), join=Join(match=(("trip", "trip_id"),))
)
NOON_S = epoch_s(START) + 43_200.0
RECORDS: Columns = {
    "trip_id": ["a", "b", "c", None],
    "pickup": np.array([NOON_S, NOON_S + 600.0, NOON_S + 7200.0, NOON_S]),
    "station": np.array([1.0, 2.0, 1.0, np.nan]),
}
NO_FARES: Columns = {"fare": np.zeros(0), "join.match.0": []}


def weather(*rows: tuple[float, float, float, float, str]) -> Columns:
    """Rows of station, seconds after noon from which they hold and were known, wind and sky."""
    station, valid_at, known_at, wind, sky = zip(*rows, strict=True)
    return {
        "wind": np.array(wind),
        "sky": list(sky),
        "join.match.0": np.array(station),
        "join.valid_at": np.array(valid_at) + NOON_S,
        "join.known_at": np.array(known_at) + NOON_S,
    }


def assembled(sources: list[Source], *read: Columns) -> dict[str, Any]:
    brought = {field for source in sources for field, _ in source.columns}
    kinds = {field: kind for field, kind in KINDS.items() if field in brought}
    return assemble(sources, plan(sources, kinds, "pickup", START, END), read)


def test_each_source_is_read_for_as_long_as_its_rows_can_count() -> None:
    trips, weather_, fares = plan([TRIPS, WEATHER, FARES], KINDS, "pickup", START, END, known_by=END)
    assert (trips.event_time, trips.start, trips.end, set(trips.kinds)) == (
        "pickup",
        START,
        END,
        {"trip_id", "pickup", "station"},
    )
    assert (weather_.time_column, weather_.start, weather_.end) == ("at", START - timedelta(seconds=3661), END)
    assert weather_.fields == {
        "wind": FieldType.NUMBER,
        "sky": FieldType.STRING,
        "join.match.0": FieldType.NUMBER,
        "join.valid_at": FieldType.TIME,
        "join.known_at": FieldType.TIME,
    }
    assert (fares.event_time, fares.start, fares.known_by) == (None, START, END)
    assert fares.fields == {"fare": FieldType.NUMBER, "join.match.0": FieldType.STRING}
    assert [pull.source.title for pull in (trips, weather_, fares)] == ["trips", "weather", "fares"]


def test_a_record_gets_the_newest_row_that_held_and_was_known_at_its_event() -> None:
    found = assembled(
        [TRIPS, WEATHER],
        RECORDS,
        weather(
            (1.0, -1000.0, -900.0, 5.0, "clear"),
            (1.0, -100.0, 1.0, 6.0, "known too late"),
            (1.0, -30.0, -30.0, 7.0, "within the lag"),
            (2.0, -5000.0, -5000.0, 8.0, "too old"),
            (2.0, 500.0, 500.0, 9.0, "rain"),
        ),
    )
    assert found["sky"] == ["clear", "rain", None, None]
    assert found["trip_id"] == RECORDS["trip_id"]
    np.testing.assert_array_equal(found["wind"], [5.0, 9.0, np.nan, np.nan])
    assert set(found) == {"trip_id", "pickup", "station", "wind", "sky"}


def test_a_label_of_another_system_is_joined_by_key_alone() -> None:
    fares: Columns = {"fare": np.array([7.5, np.nan, 9.5]), "join.match.0": ["b", "a", None]}
    np.testing.assert_array_equal(assembled([TRIPS, FARES], RECORDS, fares)["fare"], [np.nan, 7.5, np.nan, np.nan])


def test_two_rows_of_one_key_are_an_error_that_names_it() -> None:
    fares: Columns = {"fare": np.arange(14.0), "join.match.0": [*"aabbccddeeff", None, None]}
    with pytest.raises(
        ConfigurationError, match="source 'fares': it has more than one row where trip is a, b, c, d, e "
    ):
        assembled([TRIPS, FARES], RECORDS, fares)


def test_sources_of_the_same_fields_are_one_after_the_other() -> None:
    old = Source(connection="archive", table="old_trips", columns=tuple(reversed(TRIPS.columns)))
    others: Columns = {"station": np.array([3.0]), "pickup": np.array([NOON_S]), "trip_id": ["z"]}
    found = assembled([TRIPS, old, FARES], RECORDS, others, {"fare": np.array([1.0]), "join.match.0": ["z"]})
    assert found["trip_id"] == ["a", "b", "c", None, "z"]
    np.testing.assert_array_equal(found["station"], [1.0, 2.0, 1.0, np.nan, 3.0])
    np.testing.assert_array_equal(found["fare"], [np.nan] * 4 + [1.0])


def test_sources_without_rows_are_joined_to_missing_values() -> None:
    empty: Columns = {"trip_id": [], "pickup": np.zeros(0), "station": np.zeros(0)}
    assert len(assembled([TRIPS, FARES], empty, NO_FARES)["fare"]) == 0
    assert np.isnan(assembled([TRIPS, FARES], RECORDS, NO_FARES)["fare"]).all()


def test_sources_that_do_not_fit_together_are_refused_with_every_mistake() -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan([WEATHER, FARES, FARES], KINDS, "pickup", START, END)
    for told in ("at least one must hold the records", "'fares' is there 2 times", "none has the field 'trip_id'"):
        assert told in str(caught.value)
