from datetime import timedelta

import pytest

from scoring.contract.features import FieldType
from scoring.contract.source import Api, Files, Join, Source
from training.sources import (
    ApiLimits,
    DeclaredSource,
    Format,
    NextLink,
    as_of,
    by_key,
    files,
    http,
    mistakes,
    resolve,
    sql,
)

KINDS = {
    "trip_id": FieldType.STRING,
    "pickup": FieldType.TIME,
    "miles": FieldType.NUMBER,
    "wind": FieldType.NUMBER,
    "fare": FieldType.NUMBER,
}
TRIPS = sql("warehouse", "trips", columns={"miles": "distance"})
WEATHER = http(
    "weather",
    "v1/observations",
    items="data",
    parameters={"from": "{start}"},
    paging=NextLink(),
    limits=ApiLimits(requests_per_s=2.0),
    brings=["wind"],
    columns={"wind": "wind.speed"},
    join=as_of({"city": "trip_id"}, valid_at="at", lag=timedelta(hours=1), max_age=timedelta(hours=6)),
    timeout=timedelta(minutes=10),
)
FARES = files(
    "s3://billing/*.csv.gz", connection="billing", name="fares", brings=["fare"], join=by_key({"trip": "trip_id"})
)


def told(*declared: DeclaredSource) -> list[str]:
    return list(mistakes(declared, KINDS, "pickup"))


def test_a_source_that_holds_records_has_every_field_that_no_other_brings() -> None:
    trips, weather, fares = resolve([TRIPS, WEATHER, FARES], [*KINDS])
    columns = (("trip_id", "trip_id"), ("pickup", "pickup"), ("miles", "distance"))
    assert trips == Source(connection="warehouse", table="trips", columns=columns)
    origin = Api(
        path="v1/observations",
        parameters=(("from", "{start}"),),
        items="data",
        paging=NextLink(),
        limits=ApiLimits(requests_per_s=2.0),
    )
    join = Join(match=(("city", "trip_id"),), valid_at="at", lag_s=3600.0, max_age_s=21_600.0)
    assert (weather.origin, weather.join, weather.timeout_s) == (origin, join, 600.0)
    assert weather.columns == (("wind", "wind.speed"),)
    assert (fares.title, fares.columns, fares.join) == (
        "fares",
        (("fare", "fare"),),
        Join(match=(("trip", "trip_id"),)),
    )


def test_a_source_whose_fields_are_not_asked_for_is_left_out() -> None:
    assert [source.title for source in resolve([TRIPS, FARES], ["trip_id", "pickup"])] == ["trips"]


def test_one_source_alone_has_all_fields() -> None:
    (found,) = resolve([files("file:///data/trips", format=Format.CSV, delimiter=";")], [*KINDS])
    assert [field for field, _ in found.columns] == [*KINDS]
    assert found.origin == Files(url="file:///data/trips", format=Format.CSV, delimiter=";")


def test_sources_that_fit_together_have_no_mistakes() -> None:
    assert told(TRIPS, WEATHER, FARES) == []
    assert told(TRIPS, sql("archive", "old_trips")) == []


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([WEATHER, FARES], ["at least one must hold the records"]),
        ([sql("warehouse", "trips", brings=["fare"])], ["brings ['fare'], but nothing says how; give it a join"]),
        ([TRIPS, sql("b", "fares", join=by_key({"a": "trip_id"}))], ["joined, but brings nothing; list the fields"]),
        ([sql("warehouse", "trips", columns={"mile": "m"})], ["'mile' is neither a field nor the label"]),
        ([TRIPS, TRIPS], ["'trips' is there 2 times"]),
        (
            [TRIPS, sql("b", "f", brings=["fare"], join=by_key({"a": "ride"}))],
            ["matched to 'ride', which no record has"],
        ),
        ([files("s3://a:b@lake/x", timeout=timedelta(0))], ["timeout_s", "credentials", "state the format"]),
        ([http("crm", "https://x/y?z=1")], ["the path is an address", "the path has a query"]),
    ],
)
def test_all_mistakes_are_told_at_once(declared: list[DeclaredSource], expected: list[str]) -> None:
    found = told(*declared)
    assert [part in sentence for part, sentence in zip(expected, found, strict=False)] == [True] * len(expected), found
