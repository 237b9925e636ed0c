"""Rules about a record's Kafka key, headers and timestamp, and answers to lookups that found nothing."""

from typing import Any

import numpy as np
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE

from scoring.contract.asof import found_column
from scoring.contract.dead_letter import Reason
from scoring.contract.features import FeatureSchema, Field, FieldType, LookupField, Number, TableLookup
from scoring.contract.lookup import OnMiss, OnOutage
from scoring.contract.records import RecordRules
from scoring.scorer.decode import Decoded
from scoring.worker.screening import answered, screened

NAN = float("nan")


class Message:
    def __init__(self, key: bytes | None = b"k", headers: Any = None, timestamp: tuple[int, int] = (1, 0)) -> None:
        self._all = key, headers, timestamp

    def key(self) -> bytes | None:
        return self._all[0]

    def headers(self) -> Any:
        return self._all[1]

    def timestamp(self) -> tuple[int, int]:
        return self._all[2]


def schema(rules: RecordRules | None = None, **lookup: Any) -> FeatureSchema:
    weather = TableLookup(
        name="weather",
        connection="warehouse",
        table="weather",
        match=(("station", "id"),),
        valid_at="hour",
        fields=(LookupField(name="temp"),),
        **lookup,
    )
    return FeatureSchema(
        key="id",
        event_time="at",
        fields=(
            Field(name="id", type=FieldType.STRING, required=True),
            Field(name="at", type=FieldType.TIME, required=True),
        ),
        lookups=(weather,),
        features=(Number(name="temp", of="weather.temp"),),
        records=rules or RecordRules(),
    )


def batch(*at: float) -> Decoded:
    return Decoded({"id": ["a"] * len(at), "at": np.array(at)}, list(range(len(at))), [])


def refused(messages: list[Any], rules: RecordRules, *at: float) -> dict[int, Reason]:
    found = screened(batch(*(at or [0.0] * len(messages))), messages, schema(rules))
    assert sorted([*found.rows, *(f.index for f in found.failures)]) == list(range(len(messages)))
    assert len(found.columns["id"]) == len(found.rows)
    return {failure.index: failure.reason for failure in found.failures}


def test_a_long_key_is_refused_and_no_key_is_not() -> None:
    messages = [Message(b"x" * 4), Message(b"x" * 5), Message(None), Message(b"")]
    assert refused(messages, RecordRules(maximum_key_bytes=4)) == {1: Reason.TOO_LARGE}


def test_many_headers_and_large_ones_are_refused() -> None:
    two, three = [("a", b"1"), ("a", None)], [("a", b"1")] * 3
    assert refused([Message(headers=two), Message(headers=three), Message()], RecordRules(maximum_headers=2)) == {
        1: Reason.TOO_LARGE
    }
    large = [("ä", b"12345678")]
    assert refused([Message(headers=large)], RecordRules(maximum_header_bytes=10)) == {}
    assert refused([Message(headers=large)], RecordRules(maximum_header_bytes=9)) == {0: Reason.TOO_LARGE}


def test_an_event_too_far_from_its_records_timestamp_is_refused() -> None:
    stamped = Message(timestamp=(TIMESTAMP_CREATE_TIME, 1_000_000))
    rules = RecordRules(ahead_s=10.0, behind_s=100.0)
    times = (900.0, 899.9, 1_000.0, 1_010.0, 1_010.1)
    assert refused([stamped] * 5, rules, *times) == {1: Reason.CLOCK_OFF, 4: Reason.CLOCK_OFF}
    assert refused([stamped] * 2, RecordRules(ahead_s=10.0), 0.0, 2_000.0) == {1: Reason.CLOCK_OFF}


def test_a_record_without_a_timestamp_has_no_clock_to_be_off() -> None:
    assert refused([Message(timestamp=(TIMESTAMP_NOT_AVAILABLE, 0))], RecordRules(ahead_s=1.0, behind_s=1.0), 1e9) == {}


def test_without_rules_nobody_looks_at_the_messages() -> None:
    assert screened(batch(0.0), [], schema()).rows == [0]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {}),
        ({"on_miss": OnMiss.DEAD_LETTER}, {1: Reason.LOOKUP_MISS}),
        ({"on_outage": OnOutage.DEAD_LETTER}, {2: Reason.LOOKUP_OUTAGE}),
        (
            {"on_miss": OnMiss.DEAD_LETTER, "on_outage": OnOutage.DEAD_LETTER},
            {1: Reason.LOOKUP_MISS, 2: Reason.LOOKUP_OUTAGE},
        ),
        ({"on_outage": OnOutage.MISSING}, {}),
    ],
)
def test_a_lookup_answers_a_miss_and_an_outage_as_it_says(changes: dict[str, Any], wanted: dict[int, Reason]) -> None:
    columns = {"weather.temp": np.array([1.0, NAN, NAN]), found_column("weather"): np.array([1.0, 0.0, NAN])}
    found = answered(batch(0.0, 1.0, 2.0), columns, schema(**changes))
    assert {failure.index: failure.reason for failure in found.failures} == wanted
    kept = [place for place in range(3) if place not in wanted]
    assert found.rows == kept
    np.testing.assert_array_equal(found.columns["weather.temp"], columns["weather.temp"][kept])
