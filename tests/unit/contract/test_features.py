"""The feature schema: every mistake is found, and all are reported at once."""

import msgspec
import pytest

from scoring.contract.errors import ConfigurationError
from scoring.contract.features import (
    Category,
    DayOfWeek,
    Difference,
    Elapsed,
    Feature,
    FeatureSchema,
    Field,
    FieldType,
    HourOfDay,
    IsMissing,
    LookupField,
    Number,
    Ratio,
    TableLookup,
)

FIELDS = (
    Field(name="id", type=FieldType.STRING, required=True),
    Field(name="at", type=FieldType.TIME, required=True),
    Field(name="x", type=FieldType.NUMBER),
    Field(name="flag", type=FieldType.BOOLEAN),
)
LOOKUP = TableLookup(
    name="weather",
    connection="warehouse",
    table="weather",
    match=(("station", "id"),),
    valid_at="at",
    fields=(LookupField(name="wind"), LookupField(name="since", type=FieldType.TIME)),
)


def schema(
    *features: Feature,
    fields: tuple[Field, ...] = FIELDS,
    lookups: tuple[TableLookup, ...] = (LOOKUP,),
    key: str = "id",
    event_time: str = "at",
) -> FeatureSchema:
    used = features or (Number(name="x", of="x"),)
    return FeatureSchema(key=key, event_time=event_time, fields=fields, lookups=lookups, features=used)


def mistakes(**arguments: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        schema(**arguments)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_good_schema_knows_the_types_of_its_columns() -> None:
    assert schema().column_types() == {
        "id": FieldType.STRING,
        "at": FieldType.TIME,
        "x": FieldType.NUMBER,
        "flag": FieldType.BOOLEAN,
        "weather.wind": FieldType.NUMBER,
        "weather.since": FieldType.TIME,
    }


@pytest.mark.parametrize(
    "feature",
    [
        Number(name="f", of="flag"),
        Ratio(name="f", of="weather.wind", by="flag"),
        Difference(name="f", of="x", minus="weather.wind"),
        Elapsed(name="f", of="at", since="weather.since"),
        HourOfDay(name="f", of="weather.since"),
        Category(name="f", of="id", vocabulary=("a",)),
        IsMissing(name="f", of="at"),
        IsMissing(name="f", of="id"),
    ],
)
def test_features_may_read_what_has_the_type_that_they_need(feature: Feature) -> None:
    assert schema(feature).features == (feature,)


@pytest.mark.parametrize(
    ("feature", "mistake"),
    [
        (Number(name="f", of="y"), "feature 'f': 'y' is neither a field nor a looked-up value"),
        (Number(name="f", of="wind"), "'wind' is neither"),
        (Number(name="f", of="id"), "'id' is a string, a number is needed"),
        (Number(name="f", of="at"), "'at' is a time, a number is needed"),
        (Category(name="f", of="x"), "'x' is a number, a string is needed"),
        (Category(name="f", of="flag"), "'flag' is a boolean, a string is needed"),
        (DayOfWeek(name="f", of="x"), "'x' is a number, a time is needed"),
        (Elapsed(name="f", of="at", since="x"), "'x' is a number, a time is needed"),
        (Ratio(name="f", of="x", by="at"), "'at' is a time, a number is needed"),
    ],
)
def test_a_feature_that_reads_the_wrong_thing_is_named(feature: Feature, mistake: str) -> None:
    with pytest.raises(ConfigurationError, match=mistake):
        schema(feature)


def test_all_mistakes_are_reported_together() -> None:
    broken = msgspec.structs.replace(LOOKUP, match=(("station", "nowhere"),), max_age_s=0.0)
    with pytest.raises(ConfigurationError) as caught:
        schema(
            Number(name="twice", of="missing"),
            Number(name="twice", of="id"),
            fields=(*FIELDS, Field(name="x", type=FieldType.STRING)),
            lookups=(broken, msgspec.structs.replace(LOOKUP, match=())),
            key="absent",
            event_time="x",
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "feature schema:"
    assert lines[1:] == [
        "  - the field 'x' is there twice",
        "  - the lookup 'weather' is there twice",
        "  - the feature 'twice' is there twice",
        "  - the key 'absent' is not a field",
        "  - the event time 'x' must be a required field of type time",
        "  - lookup 'weather': column 'station' is matched to 'nowhere', which is not a field",
        "  - lookup 'weather': max_age_s and resolution_s must be positive and lag_s not negative",
        "  - lookup 'weather': there is no column to match",
        "  - feature 'twice': 'missing' is neither a field nor a looked-up value",
        "  - feature 'twice': 'id' is a string, a number is needed",
    ]


def test_a_schema_needs_a_feature() -> None:
    with pytest.raises(ConfigurationError, match="there is no feature"):
        FeatureSchema(key="id", event_time="at", fields=FIELDS, features=())


def test_the_event_time_must_be_a_required_time() -> None:
    assert "'nowhere' is not a field" in mistakes(event_time="nowhere")
    optional = (FIELDS[0], Field(name="at", type=FieldType.TIME), FIELDS[2])
    assert "must be a required field of type time" in mistakes(fields=optional)


@pytest.mark.parametrize("name", ["", "1x", "a b", "a.b", "a\n", "ä"])
def test_a_name_that_json_brings_must_be_an_identifier(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"name": name, "type": "number"}), type=Field)


def test_a_schema_survives_json() -> None:
    good = schema(Ratio(name="f", of="x", by="flag"), HourOfDay(name="h", of="at", zone="Asia/Kolkata"))
    assert msgspec.json.decode(msgspec.json.encode(good), type=FeatureSchema) == good
