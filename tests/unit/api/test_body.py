"""Records are taken out of a body as the bytes that they are, whatever they are."""

import json

import pytest

from scoring.api.body import APART_MAXIMUM_BYTES, records_of
from scoring.api.problems import Kind, Problem

JSON, LINES = "application/json", "application/x-ndjson"


def of(body: bytes, media_type: str = JSON, limit: int = 10) -> list[bytes]:
    return list(records_of(body, media_type, limit))


def problem(body: bytes, media_type: str = JSON, limit: int = 10) -> Problem:
    with pytest.raises(Problem) as caught:
        of(body, media_type, limit)
    return caught.value


@pytest.mark.parametrize(
    "record",
    [
        b'{"x": 1, "x": 2}',
        b'{"x": 1e999}',
        b'{ "x" :\t1 }',
        b'{"x": "\xff"}',
        b"null",
        b"7",
        b'"text, with ] and }"',
        b'{"x": "\\ud800"}',
        b"[" * 500 + b"]" * 500,
    ],
)
def test_a_record_is_what_it_was_sent_as(record: bytes) -> None:
    assert of(b'{"records": [' + record + b', {"x": 2} ]}') == [record, b'{"x": 2}']
    assert of(record + b'\n{"x": 2}\n', LINES) == [record, b'{"x": 2}']


@pytest.mark.parametrize(
    "record",
    [
        b'{"x": NaN}',
        b'{"x": 01}',
        b"{x: 1}",
        b'{"x": "\\q"}',
        b'{"x": "a\nb"}',
        b'{"x": 1,}',
        b'{"x": 1} {"x": 2}',
        b"nonsense",
        b"",
        b'{"x": "\\"]}, {"}',
        b"[" * 20_000 + b"]" * 20_000,
    ],
)
def test_a_record_that_nobody_can_read_leaves_the_others_readable(record: bytes) -> None:
    assert of(b'{"records":[{"x": 1},' + record + b', {"x": 2}]}') == [b'{"x": 1}', record, b'{"x": 2}']


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"records": {}}',
        b'{"records": [{]}',
        b'{"records": [}]}',
        b'{"records": [{"x": NaN}',
        b'{"records": [{"x": NaN}]',
        b'{"records": [NaN]], [[]}',
        b'{"records": [{}], "more": 1}',
        b'{"records": [{"x": NaN}], "more": 1}',
        b'{"records": []}',
        b"\xff",
    ],
)
def test_a_body_of_another_form_is_malformed(body: bytes) -> None:
    found = problem(body)
    assert found.kind is Kind.MALFORMED
    assert '{"records": [{…}, …]}' in found.detail


ESCAPED = b'"\\u0072ecords"'
ESCAPES = b'{"x":"\\u0072"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"records":[{"x":1}],"records":[{"x":2}]}',
        b'{"records":[{"x":1}],%b:[{"x":2}]}' % ESCAPED,
        b'{%b:[{"x":1}],"records":[{"x":2}]}' % ESCAPED,
        b'{%b:[{"x":1}],%b:[{"x":1}]}' % (ESCAPED, ESCAPED),
        b'{%b:[{"x":1}, {"x":2}],%b:[{"x":1}]}' % (ESCAPED, ESCAPED),
        b'{%b:[],%b:[{"x":1}]}' % (ESCAPED, ESCAPED),
        b'{"records":[%b],%b:[%b]}' % (ESCAPES, ESCAPED, ESCAPES),
        b'{"records":[{"x":NaN}],%b:[{"x":2}]}' % ESCAPED,
        b'{"records":[{"x":1}],%b:[{"x":NaN}]}' % ESCAPED,
    ],
)
def test_records_that_are_there_twice_are_malformed_however_the_key_is_written(body: bytes) -> None:
    assert problem(body).kind is Kind.MALFORMED


@pytest.mark.parametrize("key", [b'"records"', ESCAPED])
@pytest.mark.parametrize("record", [b'{"x":1}', ESCAPES, b'{"records":[]}', b"{%b:1}" % ESCAPED, b'"\\\\"'])
def test_records_that_are_there_once_are_taken_however_the_key_is_written(key: bytes, record: bytes) -> None:
    assert of(b" { %b : [ %b , %b\n,%b ] } " % (key, record, record, record)) == [record] * 3


def test_in_a_large_body_records_are_not_looked_for_one_by_one() -> None:
    body = b'{"records":[{"x": NaN},{"x":"' + b"x" * APART_MAXIMUM_BYTES + b'"}]}'
    assert problem(body).kind is Kind.MALFORMED


@pytest.mark.parametrize("media_type", [JSON, LINES])
def test_more_records_than_allowed_are_too_many(media_type: str) -> None:
    many = [{"x": number} for number in range(11)]
    body = json.dumps({"records": many}) if media_type == JSON else "\n".join(map(json.dumps, many))
    assert problem(body.encode(), media_type).kind is Kind.TOO_LARGE
    assert len(of(body.encode(), media_type, 11)) == 11


@pytest.mark.parametrize("media_type", ["", "text/csv", "application/xml", "json"])
def test_another_type_is_not_read(media_type: str) -> None:
    assert problem(b'{"records": [{}]}', media_type).kind is Kind.MEDIA_TYPE


def test_no_line_is_no_record() -> None:
    assert problem(b"", LINES).kind is Kind.MALFORMED
