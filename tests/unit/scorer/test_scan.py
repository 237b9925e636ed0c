"""The compiled scan of plain records: whatever a batch holds, the outcome is that of decoding one by one."""

import json
import random
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scoring.contract.dead_letter import Reason
from scoring.contract.features import Field, FieldType
from scoring.contract.records import ORDINARY, Answer, RecordRules
from scoring.scorer import library
from scoring.scorer.decode import Decoded, Decoder
from scoring.scorer.scan import Scanner
from tests.support.kernels import needs_library
from tests.support.records import FIELDS, ODD, PLAIN

pytestmark = needs_library

STRICT = msgspec.structs.replace(ORDINARY, unknown_fields=Answer.DEAD_LETTER, maximum_text_characters=5)
RULES = (RecordRules(), ORDINARY, STRICT, RecordRules(maximum_value_bytes=90, maximum_depth=1))


def scanner(rules: RecordRules = ORDINARY) -> Scanner:
    return Scanner(library.load(), FIELDS, rules)


def told(decoded: Decoded) -> tuple[object, ...]:
    """All that there is to an outcome, numbers bit by bit."""
    columns = {
        name: column.tobytes() if isinstance(column, np.ndarray) else list(column)
        for name, column in decoded.columns.items()
    }
    return list(columns), columns, list(decoded.rows), decoded.failures


def same(values: Sequence[bytes | None]) -> None:
    for rules in RULES:
        scanned, one_by_one = (Decoder(FIELDS, rules, scanning=scanning).decode(values) for scanning in (True, False))
        assert told(scanned) == told(one_by_one)


def with_x(text: str) -> bytes:
    return b'{"id":"a","at":"2026-03-01T12:30:00Z","x":%b}' % text.encode()


def with_at(text: str) -> bytes:
    return b'{"id":"a","at":%b,"x":1}' % json.dumps(text).encode()


@pytest.mark.parametrize(
    "value",
    [
        PLAIN,
        b'{"x":1,"at":"2026-03-01T12:30:00Z","id":"a"}',
        b' {\n\t"id" : "a" ,\r\n "at":"2026-03-01T12:30:00Z", "x":1 , "color" : null, "flag":false }\n',
        '{"id":"Jürgen 李","at":"2026-03-01T12:30:00Z","x":1}'.encode(),
        b'{"id":"","at":"2026-03-01T12:30:00Z","x":1,"more":1,"other":"two","none":null,"yes":true,"no":false}',
    ],
)
def test_plain_records_are_scanned(value: bytes) -> None:
    batch = [value, PLAIN, value]
    assert scanner().scan(batch).others == []
    same(batch)


@pytest.mark.parametrize("value", [*ODD, None])
def test_what_is_not_plain_is_left_to_the_other_decoder(value: bytes | None) -> None:
    batch = [PLAIN, value, PLAIN]
    assert scanner(STRICT).scan(batch).others == [1]
    same(batch)
    same([value])


def test_a_batch_of_all_kinds_comes_out_in_its_order() -> None:
    chooser = random.Random(1)
    batch = [chooser.choice([PLAIN, PLAIN, *ODD, None]) for _ in range(500)]
    assert len(scanner().scan(batch).others) > 100
    same(batch)


NUMBERS = "0 -0 -0.0 0.0 -0e0 1 -1 01 1. .5 +1 1e 1e+ 1e5 1E-5 1e22 1e23 1e-22 1e-23 1e27 1e28 9007199254740993 1e999"
NUMBERS += " 9007199254740992 18446744073709551615 18446744073709551616 9999999999999999999 99999999999999999999 5e-324"
NUMBERS += " 0.1 0.30000000000000004 123456789012345678e-20 2.2250738585072011e-308 1.7976931348623159e308 0.000000001"
NUMBERS += " 1.00000000000000011102230246251565404 8.5e0000 8.5e00001 1e0001 NaN Infinity 1_0 0x1 1.5.5 -- - 1,2"


@pytest.mark.parametrize("text", NUMBERS.split(" "))
def test_numbers_are_read_as_the_other_decoder_reads_them(text: str) -> None:
    same([with_x(text), PLAIN, with_x(f"-{text}")])


@settings(max_examples=500)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=200))
@example([5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1 + 0.2, -0.0])
def test_every_number_is_the_nearest(numbers: list[float]) -> None:
    batch = [with_x(repr(number)) for number in numbers]
    found = Decoder(FIELDS).decode(batch)
    assert found.failures == []
    assert np.asarray(found.columns["x"]).tobytes() == np.array(numbers).tobytes()


def test_numbers_near_the_middle_between_two_are_rounded_to_the_right_one() -> None:
    """Of 17 to 19 digits, straight and just beside what lies in the middle: the place where a second rounding errs."""
    chooser = random.Random(3)
    texts = []
    for _ in range(20_000):
        (low,) = struct.unpack("<d", struct.pack("<q", chooser.randrange(0x3F00000000000000, 0x4400000000000000)))
        middle = (int(low * 2**40) if low < 1 else int(low)) * 2 + 1
        texts.append(f"{middle}e{chooser.randrange(-27, 3)}")
        texts.append(f"{chooser.randrange(10**16, 10**19)}e{chooser.randrange(-30, 30)}")
    batch = [with_x(text) for text in texts]
    found = np.asarray(Decoder(FIELDS).decode(batch).columns["x"])
    assert found.tolist() == [float(text) for text in texts]
    assert len(scanner().scan(batch).others) < len(batch) * 3 // 4


TIMES = [
    "2026-03-01T12:30:00Z",
    "2026-03-01T12:30:00.000001Z",
    "2026-03-01T12:30:00.1234567Z",
    "2026-03-01T12:30:00.Z",
    "2026-03-01T12:30:00z",
    "2026-03-01t12:30:00Z",
    "2026-03-01 12:30:00Z",
    "2026-03-01T12:30:00",
    "2026-03-01T12:30:60Z",
    "2026-03-01T24:00:00Z",
    "2026-02-29T12:30:00Z",
    "2024-02-29T12:30:00Z",
    "2000-02-29T12:30:00Z",
    "1900-02-29T12:30:00Z",
    "2026-00-01T12:30:00Z",
    "2026-13-01T12:30:00Z",
    "2026-04-31T12:30:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "1699-12-31T23:59:59.999999Z",
    "1700-01-01T00:00:00.999999Z",
    "1969-12-31T23:59:59.999999Z",
    "2199-12-31T23:59:59.999999Z",
    "2200-01-01T00:00:00.999999Z",
    "2026-03-01T12:30:00+05:30",
    "2026-03-01T12:30:00-23:59",
    "2026-03-01T12:30:00+24:00",
    "2026-03-01T12:30:00+05:60",
    "2026-03-01T12:30:00+0530",
    "2026-03-01T12:30:00-00:00",
    "2026-03-01T12:30:00.5",
    "2026-03-01T12:30Z",
    "+2026-03-01T12:30:00Z",
    "",
]


@pytest.mark.parametrize("text", TIMES)
def test_times_are_read_as_the_other_decoder_reads_them(text: str) -> None:
    same([with_at(text), PLAIN])


@given(
    st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1)),  # noqa: DTZ001  as hypothesis asks for
    st.integers(-1_439, 1_439),
    st.sampled_from(["auto", "microseconds", "seconds", "milliseconds"]),
)
def test_every_time_is_the_same(moment: datetime, minutes: int, precision: str) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    same([with_at(there.isoformat(timespec=precision)), with_at(moment.replace(tzinfo=UTC).isoformat()[:-6] + "Z")])


KEYS = st.sampled_from(["id", "at", "x", "color", "flag", "until", "y", "more", "i", "idx", ""])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(TIMES),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
DOCUMENTS = st.builds(
    lambda own, drawn: {**own, **drawn},
    st.sampled_from([{}, json.loads(PLAIN)]),
    st.dictionaries(KEYS, VALUES, max_size=9),
)


@settings(max_examples=400)
@given(st.lists(st.tuples(DOCUMENTS, st.booleans(), st.booleans()), max_size=8))
def test_any_document_gives_the_same_outcome(documents: list[tuple[object, bool, bool]]) -> None:
    same([json.dumps(one, ensure_ascii=ascii_, indent=1 if wide else None).encode() for one, ascii_, wide in documents])


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 3), st.binary(max_size=3)), max_size=3))
def test_any_damage_gives_the_same_outcome(changes: list[tuple[int, int, bytes]]) -> None:
    value = PLAIN
    for place, removed, added in changes:
        value = value[:place] + added + value[place + removed :]
    same([PLAIN, value, PLAIN])


def test_what_a_record_lacks_is_not_what_the_one_before_it_had() -> None:
    found = Decoder(FIELDS).decode([PLAIN, with_x("2"), PLAIN])
    assert found.columns["color"] == ["red", None, "red"]
    assert np.isnan(np.asarray(found.columns["y"])).tolist() == [False, True, False]


WIDE = [
    Field(name="id", type=FieldType.STRING, required=True),
    *(Field(name=f"s{number}", type=FieldType.STRING) for number in range(60)),
]


@pytest.mark.parametrize("records", [1, 4_096])
@pytest.mark.parametrize("last", [True, False])
def test_records_that_lack_most_of_their_texts_have_room_for_that(records: int, last: bool) -> None:
    fields = [*WIDE[1:], WIDE[0]] if last else WIDE
    batch = [b'{"id":"AAAAAAAAAAAAAAAA"}', b'{"id":""}', b'{"":1,"id":"a"}'] * records
    scanned, one_by_one = (Decoder(fields, ORDINARY, scanning=scanning).decode(batch) for scanning in (True, False))
    assert told(scanned) == told(one_by_one)
    assert scanned.columns["s59"] == [None] * len(batch)


@pytest.mark.parametrize("kind", list(FieldType))
def test_names_beyond_ascii_are_read(kind: FieldType) -> None:
    fields = [Field(name="müşteri", type=kind), Field(name="名", type=FieldType.NUMBER)]
    texts = {FieldType.STRING: "ü", FieldType.TIME: TIMES[0], FieldType.NUMBER: 1.5, FieldType.BOOLEAN: True}
    batch = [json.dumps({"müşteri": texts[kind], "名": 2}, ensure_ascii=ascii_).encode() for ascii_ in (True, False)]
    scanned, one_by_one = (Decoder(fields, ORDINARY, scanning=scanning).decode(batch) for scanning in (True, False))
    assert told(scanned) == told(one_by_one)
    assert np.asarray(scanned.columns["名"]).tolist() == [2.0, 2.0]


def test_a_schema_of_more_fields_than_strays_are_allowed_is_learnt() -> None:
    fields = [Field(name=f"f{number}", type=FieldType.NUMBER) for number in range(200)]
    value = json.dumps({f"f{number}": number for number in reversed(range(200))}).encode()
    others = Scanner(library.load(), fields, ORDINARY).scan([value] * 20).others
    assert len(others) < 10
    decoded = Decoder(fields).decode([value] * 20)
    assert decoded.failures == []
    assert all(list(decoded.columns[f"f{number}"]) == [number] * 20 for number in range(200))


def test_the_longest_texts_are_told_apart_by_the_rules() -> None:
    rules = msgspec.structs.replace(ORDINARY, maximum_text_characters=3)
    values = ['{"id":"üüü","at":"2026-03-01T12:30:00Z","x":1}'.encode(), PLAIN.replace(b'"a"', b'"four"')]
    decoded = Decoder(FIELDS, rules).decode(values)
    assert decoded.columns["id"] == ["üüü"]
    assert [failure.reason for failure in decoded.failures] == [Reason.TOO_LARGE]
