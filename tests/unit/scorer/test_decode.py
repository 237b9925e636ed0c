"""Decoding is strict: what is not exactly the declared type becomes a dead letter, alone, with a stable reason."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.dead_letter import Reason
from scoring.scorer.decode import Decoded, Decoder
from tests.support.bundles import small_record
from tests.support.records import FIELDS

DECODER = Decoder(FIELDS)
GOOD = b'{"id":"a","at":"2026-03-01T12:30:00Z","x":1}'


def record(**changes: bytes) -> bytes:
    fields = {"id": b'"a"', "at": b'"2026-03-01T12:30:00Z"', "x": b"1", **changes}
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), content) for name, content in fields.items()) + b"}"


def reason_of(value: bytes | None) -> Reason:
    decoded = DECODER.decode([GOOD, value, GOOD])
    assert decoded.rows == [0, 2]
    assert {len(column) for column in decoded.columns.values()} == {2}
    (failure,) = decoded.failures
    assert failure.index == 1
    assert failure.detail
    return failure.reason


def only(value: bytes) -> Decoded:
    decoded = DECODER.decode([value])
    assert decoded.failures == []
    return decoded


def test_a_batch_becomes_columns() -> None:
    decoded = DECODER.decode([msgspec.json.encode(small_record(number)) for number in range(3)])
    assert decoded.rows == [0, 1, 2]
    assert decoded.failures == []
    assert decoded.columns["id"] == ["r-00000000", "r-00000001", "r-00000002"]
    np.testing.assert_array_equal(np.asarray(decoded.columns["x"], dtype=np.float64), [0.0, 0.1, 0.2])
    assert all(len(column) == 3 for column in decoded.columns.values())


def test_an_empty_batch_becomes_empty_columns() -> None:
    decoded = DECODER.decode([])
    assert (decoded.rows, decoded.failures) == ([], [])
    assert decoded.columns.keys() == {field.name for field in FIELDS}


def test_optional_fields_may_be_missing_or_null() -> None:
    for value in (record(), record(color=b"null", flag=b"null", until=b"null", y=b"null")):
        columns = only(value).columns
        assert columns["color"] == [None]
        assert all(np.isnan(np.asarray(columns[name], dtype=np.float64)).all() for name in ("flag", "until", "y"))


def test_every_type_has_its_column() -> None:
    columns = only(record(flag=b"true", y=b"-0.0", color=b'"\\u00e4"', until=b'"1970-01-01T01:00:00+01:00"')).columns
    assert columns["color"] == ["ä"]
    assert [float(columns[name][0] or 0) for name in ("flag", "y", "until")] == [1.0, 0.0, 0.0]


def test_unknown_fields_are_ignored() -> None:
    assert only(record(new=b'{"a":[1,null,"x"]}')).rows == [0]


@pytest.mark.parametrize("number", [b"0", b"-1", b"1e308", b"5e-324", b"1e-999", b"12345678901234567890", b"1.5E+3"])
def test_numbers_are_those_of_float64(number: bytes) -> None:
    assert np.asarray(only(record(x=number)).columns["x"])[0] == float(number)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 400, b"1" * 5_000])
def test_a_number_beyond_float64_is_not_finite(number: bytes) -> None:
    assert reason_of(record(x=number)) is Reason.NON_FINITE


@pytest.mark.parametrize(
    "content", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"01", b"1.", b".5", b"0x1", b"+1", b"'a'"]
)
def test_what_json_does_not_have_is_malformed(content: bytes) -> None:
    assert reason_of(record(x=content)) is Reason.MALFORMED_JSON


@pytest.mark.parametrize(
    "changes",
    [
        {"x": b"true"},
        {"x": b'"1"'},
        {"x": b"[1]"},
        {"x": b"{}"},
        {"x": b"null"},
        {"id": b"1"},
        {"id": b"null"},
        {"color": b"true"},
        {"flag": b"1"},
        {"flag": b"0"},
        {"flag": b'"true"'},
        {"at": b"1772368200"},
        {"at": b"null"},
        {"at": b'"yesterday"'},
        {"at": b'"2026-03-01"'},
        {"at": b'"2026-03-01T12:30:00"'},
        {"at": b'"2026-02-30T12:30:00Z"'},
        {"at": b'"2026-03-01T24:00:00Z"'},
        {"at": b'"2026-06-30T23:59:60Z"'},
        {"at": b'"2026-03-01T12:30:00+24:00"'},
        {"until": b'"2026-03-01T12:30:00"'},
    ],
)
def test_another_type_is_the_wrong_type(changes: dict[str, bytes]) -> None:
    assert reason_of(record(**changes)) is Reason.WRONG_TYPE


@pytest.mark.parametrize(
    "moment",
    [
        b"0000-01-01T00:00:00Z",
        b"0001-01-01T00:00:00+00:01",
        b"9999-12-31T23:59:59-00:01",
        b"9999-12-31T23:59:59.999999Z",
        b"9999-12-31T23:59:59.9999999Z",
        b"10000-01-01T00:00:00Z",
    ],
)
def test_a_time_beyond_the_calendar_is_refused_alone(moment: bytes) -> None:
    assert reason_of(record(at=b'"%b"' % moment)) is Reason.WRONG_TYPE
    assert reason_of(record(until=b'"%b"' % moment)) is Reason.WRONG_TYPE


@pytest.mark.parametrize("moment", [b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z", b"0001-01-01T14:00:00+14:00"])
def test_the_edges_of_the_calendar_are_times(moment: bytes) -> None:
    assert only(record(at=b'"%b"' % moment)).rows == [0]


@pytest.mark.parametrize("missing", ["id", "at", "x"])
def test_a_required_field_must_be_there(missing: str) -> None:
    document = msgspec.json.decode(GOOD)
    del document[missing]
    decoded = DECODER.decode([msgspec.json.encode(document)])
    assert [(failure.reason, missing in failure.detail) for failure in decoded.failures] == [
        (Reason.MISSING_FIELD, True)
    ]


@pytest.mark.parametrize("value", [b"null", b"1", b'"text"', b"[]", b"true"])
def test_a_record_must_be_an_object(value: bytes) -> None:
    assert reason_of(value) is Reason.WRONG_TYPE


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"{", GOOD[:-1], GOOD + b"}", GOOD + GOOD, b"\xef\xbb\xbf" + GOOD, b"\x00", b"nonsense", b"{'id':1}"],
)
def test_what_is_no_json_is_malformed(value: bytes) -> None:
    assert reason_of(value) is Reason.MALFORMED_JSON


@pytest.mark.parametrize(
    "content", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\ud800\\u0041"', b'"\\x"']
)
def test_text_that_is_no_unicode_is_malformed(content: bytes) -> None:
    assert reason_of(record(id=content)) is Reason.MALFORMED_JSON


def test_a_null_value_has_a_reason_of_its_own() -> None:
    assert reason_of(None) is Reason.NULL_VALUE


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert only(b'{"id":"a","id":"b","at":"2026-03-01T12:30:00Z","x":1}').columns["id"] == ["b"]


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deep_nesting_costs_no_more_than_the_record(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    assert reason_of(record(x=nested)) is Reason.WRONG_TYPE
    decoded = DECODER.decode([GOOD, record(junk=nested), GOOD])
    assert [failure.reason for failure in decoded.failures] in ([], [Reason.MALFORMED_JSON])


def test_a_reason_is_not_taken_from_what_the_record_says() -> None:
    assert reason_of(b'{"id":"out of range","at":"missing required field","x":1}') is Reason.WRONG_TYPE


def test_the_detail_never_repeats_the_content() -> None:
    secret = "4111-1111-1111-1111"
    values = [record(x=b'"%b"' % secret.encode()), record(at=b'"%b"' % secret.encode()), secret.encode()]
    assert all(secret not in failure.detail for failure in DECODER.decode(values).failures)


GOODS = st.builds(
    lambda number: msgspec.json.encode(small_record(number)), st.integers(min_value=0, max_value=1_000_000)
)


@given(st.lists(st.one_of(GOODS, st.none(), st.binary(max_size=60), st.just(record(x=b"1e999"))), max_size=8))
def test_every_record_ends_in_exactly_one_place_whatever_its_neighbours_are(values: list[bytes | None]) -> None:
    decoded = DECODER.decode(values)
    assert sorted([*decoded.rows, *(failure.index for failure in decoded.failures)]) == list(range(len(values)))
    alone = [DECODER.decode([value]) for value in values]
    assert decoded.rows == [index for index, one in enumerate(alone) if one.rows]
    assert [failure.reason for failure in decoded.failures] == [f.reason for one in alone for f in one.failures]
    assert decoded.columns["id"] == [name for one in alone for name in one.columns["id"]]


OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS))  # noqa: DTZ001 - hypothesis
def test_times_are_seconds_since_1970_in_utc(moment: datetime) -> None:
    found = float(np.asarray(only(record(at=msgspec.json.encode(moment))).columns["at"])[0])
    assert abs(found - (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) < 1e-4


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (record(x=b'"1"'), "x"),
        (record(x=b"1e999"), "x"),
        (record(color=b'["red"]'), "color"),
        (record(until=b'"yesterday"'), "until"),
        (record(until=b'"9999-12-31T23:59:59-10:00"'), "until"),
        (b'{"id":"a","x":1}', "at"),
        (b"[]", None),
        (b"{", None),
        (None, None),
    ],
)
def test_a_failure_names_its_field(value: bytes | None, field: str | None) -> None:
    assert [failure.field for failure in DECODER.decode([GOOD, value, GOOD]).failures] == [field]
