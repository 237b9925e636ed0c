from typing import Any

import msgspec
import pytest

from scoring.contract.features import FieldType
from scoring.contract.source import (
    Api,
    ApiLimits,
    Cursor,
    Files,
    Format,
    Join,
    NextLink,
    Offset,
    PageNumber,
    Source,
    mistakes_of,
    source_mistakes,
)

KINDS = {"trip_id": FieldType.STRING, "pickup": FieldType.TIME, "miles": FieldType.NUMBER, "fare": FieldType.NUMBER}
COLUMNS = (("trip_id", "id"), ("pickup", "pickup"), ("miles", "miles"))


def source(**changes: Any) -> Source:
    values: dict[str, Any] = {"connection": "warehouse", "table": "public.trips", "columns": COLUMNS}
    return Source(**{**values, **changes})


FARES = source(table="fares", columns=(("fare", "amount"),), join=Join(match=(("trip", "trip_id"),)))


def test_a_table_is_written_and_read_as_it_always_was() -> None:
    old = b'{"connection":"warehouse","table":"public.trips","columns":[["trip_id","id"]]}'
    found = msgspec.json.decode(old, type=Source)
    assert found == source(columns=(("trip_id", "id"),))
    assert msgspec.json.encode(found) == old


@pytest.mark.parametrize(
    "written",
    [
        source(origin=Files(url="s3://lake/*.csv.gz", format=Format.CSV, delimiter=";"), table="", name="lake"),
        source(origin=Files(url="/lake/a.csv", timezone="Europe/Berlin"), table=""),
        source(origin=Api(path="trips"), table="", timeout_s=60.0),
        source(origin=Api(path="trips", items="data.items", paging=NextLink()), table=""),
        source(origin=Api(path="trips", paging=NextLink(path="next"), limits=ApiLimits(attempts=2)), table=""),
        source(origin=Api(path="trips", paging=Cursor(path="cursor", parameter="after")), table=""),
        source(origin=Api(path="trips", paging=PageNumber(parameter="page", first=0)), table=""),
        source(origin=Api(path="trips", paging=Offset(limit=100)), table=""),
        FARES,
        source(join=Join(match=(("a", "b"),), valid_at="at", known_at="known", lag_s=1.0, max_age_s=2.0)),
    ],
)
def test_every_kind_comes_back_as_it_was_written(written: Source) -> None:
    assert msgspec.json.decode(msgspec.json.encode(written), type=Source) == written


@pytest.mark.parametrize(
    ("described", "title"),
    [
        (source(), "public.trips"),
        (source(name="trips"), "trips"),
        (source(table="", origin=Files(url="s3://lake/2024/*.parquet")), "*.parquet"),
        (source(table="", origin=Api(path="/v1/trips/")), "v1/trips"),
        (source(table="", origin=Api(path="")), "warehouse"),
    ],
)
def test_a_source_without_a_name_is_called_by_its_place(described: Source, title: str) -> None:
    assert described.title == title


def test_the_place_of_a_source_is_the_same_however_it_is_called_and_however_hard_it_is_asked() -> None:
    api = Api(path="trips", limits=ApiLimits(requests_per_s=1.0))
    assert source(name="a", timeout_s=5.0, columns=()).place == source().place
    assert source(table="", origin=api).place == source(table="", origin=Api(path="trips")).place
    assert source(table="other").place != source().place


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("a/b.parquet", Format.PARQUET),
        ("a/b.CSV", Format.CSV),
        ("a/b.csv.gz", Format.CSV),
        ("a/b.gz", None),
        ("a/b.json", None),
    ],
)
def test_the_ending_of_a_file_tells_its_format(path: str, format_: Format | None) -> None:
    assert Files(url="file:///x").format_of(path) is format_


def test_all_mistakes_of_a_source_are_told_at_once() -> None:
    files = Files(url="s3://key:secret@lake/trips", delimiter="")
    join = Join(match=(), known_at="known", max_age_s=0.0)
    found = list(mistakes_of(source(origin=files, connection="", timeout_s=0.0, join=join)))
    expected = ["one of them only", "timeout_s", "credentials", "state the format", "delimiter"]
    expected += ["no column to match", "known_at needs valid_at", "max_age_s"]
    assert len(found) == len(expected)
    for sentence, part in zip(found, expected, strict=True):
        assert part in sentence
        assert "secret" not in sentence


def test_an_api_is_named_by_its_connection_and_not_by_an_address() -> None:
    api = Api(path="https://example.org/trips", parameters=(("from", "1"), ("from", "2")))
    found = list(mistakes_of(source(table="", connection="", origin=api)))
    assert [part in sentence for part, sentence in zip(["connection", "address", "'from'"], found, strict=True)]


def test_sources_that_fit_together_have_no_mistakes() -> None:
    assert list(source_mistakes([source(), source(table="old_trips"), FARES], KINDS, "pickup")) == []


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ([FARES], "at least one must hold the records"),
        ([source(), FARES, source()], "'public.trips' is there 2 times"),
        ([source(columns=(("trip_id", "id"),)), FARES], "not their event time 'pickup'"),
        ([source(), source(table="b", columns=COLUMNS[:2]), FARES], "only one has 'miles'"),
        ([source()], "none has the field 'fare'"),
        ([source(columns=(*COLUMNS, ("tip", "tip")))], "the field 'tip' is not declared"),
        ([source(), FARES, msgspec.structs.replace(FARES, name="b")], "the field 'fare' comes from more than one"),
        (
            [source(), msgspec.structs.replace(FARES, join=Join(match=(("trip", "ride"),)))],
            "'trip' is matched to 'ride', which no record has",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(sources: list[Source], told: str) -> None:
    assert any(told in sentence for sentence in source_mistakes(sources, KINDS, "pickup"))


def test_a_join_follows_the_rule_of_lookups() -> None:
    joined = source(
        table="weather",
        columns=(("wind", "wind_speed"),),
        join=Join(match=(("station", "origin"),), valid_at="at", known_at="known", lag_s=3600.0),
    )
    found = joined.as_of({"wind": FieldType.NUMBER})
    assert (found.name, found.match, found.valid_at, found.known_at) == (
        "weather",
        (("station", "origin"),),
        "at",
        "known",
    )
    assert (found.lag_s, found.max_age_s, [field.name for field in found.fields]) == (3600.0, 86_400.0, ["wind"])


def test_a_zone_that_is_none_and_a_path_that_depends_on_the_process_are_mistakes() -> None:
    found = [*mistakes_of(source(origin=Files(url="data/trips.csv", timezone="Mars/Olympus"), table=""))]
    assert found == [
        "source 'trips.csv': 'data/trips.csv' depends on where a process runs; write the whole path, from / on",
        "source 'trips.csv': 'Mars/Olympus' is no time zone; write one such as UTC or Europe/Berlin",
    ]
