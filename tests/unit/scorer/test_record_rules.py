"""Records that say too much: keys twice, fields nobody declared, depth, sizes. Each alone, whatever its neighbours."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.dead_letter import Reason
from scoring.contract.features import Field, FieldType
from scoring.contract.records import ORDINARY, Answer, RecordRules
from scoring.scorer.blame import MAXIMUM_NAME_CHARACTERS, shown_name
from scoring.scorer.decode import Decoder
from scoring.scorer.shape import depth_of, repeated_key

FIELDS = (
    Field(name="id", type=FieldType.STRING, required=True),
    Field(name="at", type=FieldType.TIME, required=True),
    Field(name="x", type=FieldType.NUMBER, required=True),
    Field(name="color", type=FieldType.STRING),
    Field(name="flag", type=FieldType.BOOLEAN),
)
GOOD = b'{"id":"a","at":"2026-03-01T12:30:00Z","x":1,"color":"red","flag":true}'
REPEATED = RecordRules(repeated_keys=Answer.DEAD_LETTER)
UNKNOWN = RecordRules(unknown_fields=Answer.DEAD_LETTER)


def reason_of(value: bytes, rules: RecordRules) -> Reason | None:
    """Among good neighbours, and the same alone."""
    decoder = Decoder(FIELDS, rules)
    batch = decoder.decode([GOOD, value, GOOD])
    alone = decoder.decode([value])
    assert [f.reason for f in batch.failures] == [f.reason for f in alone.failures]
    assert {len(column) for column in batch.columns.values()} == {len(batch.rows)}
    assert batch.rows == ([0, 2] if batch.failures else [0, 1, 2])
    return batch.failures[0].reason if batch.failures else None


def behind(*more: bytes, document: bytes = GOOD) -> bytes:
    return document[:-1] + b"," + b",".join(more) + b"}"


TWICE = [
    behind(b'"x":2'),
    behind(b'"x" : 2'),
    behind(b'"x"\n\t:2'),
    behind(b'"\\u0078":2'),
    behind(b'"\\u0069\\u0064":"b"'),
    behind(b'"color":null'),
    behind(b'"junk":1', b'"junk":2'),
    behind(b'"junk":{"a":1,"a":2}'),
    behind(b'"junk":[[{"a":1},{"b":[{"c":":","c":1}]}]]'),
    behind(b'"":1', b'"":1'),
    b'{"x":2,"id":"a","at":"2026-03-01T12:30:00Z","x":1}',
    b'{"id":"a","at":"2026-03-01T12:30:00Z","x":1,"x":1,"x":1}',
]
ONCE = [
    GOOD,
    b'{"id":"a","at":"2026-03-01T12:30:00Z","x":1}',
    b'{"id":"a","at":"2026-03-01T12:30:00Z","x":1,"color":null}',
    b'{ "id" : "a" , "at" : "2026-03-01T12:30:00Z" , "x" : 1 }',
    b'{"id":":","at":"2026-03-01T12:30:00Z","x":1,"color":":::"}',
    b'{"id":"\\":\\":","at":"2026-03-01T12:30:00Z","x":1,"color":" : : "}',
]


@pytest.mark.parametrize("value", TWICE)
def test_a_key_twice_is_refused_at_any_depth_and_however_it_is_written(value: bytes) -> None:
    assert reason_of(value, REPEATED) is Reason.REPEATED_KEY
    assert reason_of(value, ORDINARY) is Reason.REPEATED_KEY
    assert reason_of(value, RecordRules()) is None


@pytest.mark.parametrize("value", [*ONCE, behind(b'"junk":{"a":{"a":1},"b":[{"a":1},{"a":1}]}'), behind(b'"n":"\\":"')])
def test_what_only_looks_like_a_key_twice_is_scored(value: bytes) -> None:
    assert reason_of(value, REPEATED) is None
    assert reason_of(value, ORDINARY) is None


@pytest.mark.parametrize("content", [b"1", b"null", b'":"', b"[]", b'{"a":1}', b"1" * 500, b'"\\u00e4"'])
def test_a_field_that_nobody_declared_is_refused_where_the_rules_say_so(content: bytes) -> None:
    value = behind(b'"more":' + content)
    assert reason_of(value, UNKNOWN) is Reason.UNKNOWN_FIELD
    assert reason_of(value, ORDINARY) is None


@pytest.mark.parametrize("value", ONCE)
def test_declared_fields_are_not_unknown(value: bytes) -> None:
    assert reason_of(value, UNKNOWN) is None
    assert reason_of(value, RecordRules(unknown_fields=Answer.DEAD_LETTER, repeated_keys=Answer.DEAD_LETTER)) is None


@pytest.mark.parametrize(
    ("value", "rules", "field"),
    [
        (behind(b'"x":2'), REPEATED, "x"),
        (behind(b'"\\u0078":2'), REPEATED, "x"),
        (behind(b'"junk":{"a":1,"b":2,"b":3,"a":4}'), REPEATED, "b"),
        (behind(b'"":1', b'"":1'), REPEATED, ""),
        (behind(b'"junk":1e999', b'"x":2'), REPEATED, "x"),
        (behind(b'"more":1', b'"still":2'), UNKNOWN, "more"),
        (behind(b'"%b":1' % (b"k" * 5_000)), UNKNOWN, "k" * MAXIMUM_NAME_CHARACTERS),
        (GOOD.replace(b"red", b"red\\u0000"), RecordRules(null_characters=Answer.DEAD_LETTER), "color"),
        (GOOD.replace(b"red", b"r" * 9), RecordRules(maximum_text_characters=8), "color"),
        (GOOD, RecordRules(maximum_value_bytes=8), None),
        (behind(b'"junk":[[1]]'), RecordRules(maximum_depth=2), None),
    ],
)
def test_what_breaks_a_rule_names_the_field_that_does(value: bytes, rules: RecordRules, field: str | None) -> None:
    decoder = Decoder(FIELDS, rules)
    (alone,) = decoder.decode([value]).failures
    among = [failure for failure in decoder.decode([GOOD, value, GOOD]).failures if failure.index == 1]
    assert [(failure.reason, failure.field) for failure in [alone, *among]] == [(alone.reason, field)] * 2


def test_a_key_that_is_no_text_can_be_written() -> None:
    assert shown_name("\ud800a") == "?a"


def test_a_key_twice_among_many_is_found_in_one_pass() -> None:
    keys = b",".join(b'"k%d":1' % number for number in range(100_000))
    assert repeated_key(b"{" + keys + b',"k99999":2}') == "k99999"


NAMES = st.sampled_from(["id", "at", "x", "color", "flag", "junk", "\x00", ":", '"', "a b", ""])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.sampled_from(['":', " :", "{", "["])
)


def _text(pairs: list[tuple[str, Any]], rng: Any) -> bytes:
    """JSON that may name a key twice, with white space and escapes anywhere."""

    def space() -> str:
        return str(rng.choice(["", "", " ", "\n\t"]))

    parts = []
    for name, content in pairs:
        key = "".join(f"\\u{ord(c):04x}" if rng.random() < 0.2 else json.dumps(c)[1:-1] for c in name)
        inner = _text(content, rng).decode() if isinstance(content, list) else json.dumps(content)
        parts.append(f'{space()}"{key}"{space()}:{space()}{inner}{space()}')
    return ("{" + ",".join(parts) + "}").encode()


def _repeats(pairs: list[tuple[str, Any]]) -> bool:
    names = [name for name, _ in pairs]
    return len(set(names)) < len(names) or any(_repeats(content) for _, content in pairs if isinstance(content, list))


DOCUMENTS = st.lists(st.tuples(NAMES, st.one_of(LEAVES, st.lists(st.tuples(NAMES, LEAVES), max_size=3))), max_size=4)


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_the_count_finds_exactly_the_records_that_repeat_a_key_or_name_another_field(
    more: list[tuple[str, Any]], rng: Any
) -> None:
    base: list[tuple[str, Any]] = [("id", "a"), ("at", "2026-03-01T12:30:00Z"), ("x", 1)]
    kept = [(name, content) for name, content in more if name not in {"id", "at", "x", "flag", "color"}]
    pairs = [*base, *kept, *[("color", rng.choice(["red", ":", None]))] * rng.randint(0, 2)]
    rng.shuffle(pairs)
    value = _text(pairs, rng)
    assert reason_of(value, REPEATED) is (Reason.REPEATED_KEY if _repeats(pairs) else None)
    assert reason_of(value, UNKNOWN) is (Reason.UNKNOWN_FIELD if kept else None)
    assert (repeated_key(value) is not None) is _repeats(pairs)


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        (b"1", 0),
        (b"{}", 1),
        (b'{"a":[{}]}', 3),
        (b'{"a":"[[[[","b":"\\"[["}', 1),
        (b'{"\\\\":[1,[2]]}', 3),
        (b"[][[]]", 2),
    ],
)
def test_depth_is_that_of_objects_and_arrays_outside_text(value: bytes, depth: int) -> None:
    assert depth_of(value) == depth


@pytest.mark.parametrize("depth", [8, 9, 300, 5_000])
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_nested_too_deeply_is_refused_and_nothing_below_the_limit(
    depth: int, pair: tuple[bytes, bytes]
) -> None:
    nested = pair[0] * (depth - 1) + b"1" + pair[1] * (depth - 1)
    rules = RecordRules(maximum_depth=8)
    assert reason_of(behind(b'"junk":' + nested), rules) is (Reason.TOO_DEEP if depth > 8 else None)


def test_brackets_in_text_are_no_depth() -> None:
    assert reason_of(GOOD.replace(b"red", b"[{" * 400), RecordRules(maximum_depth=1)) is None


def test_sizes_have_limits() -> None:
    large = GOOD + b" " * 1_000
    assert reason_of(large, RecordRules(maximum_value_bytes=len(large))) is None
    assert reason_of(large, RecordRules(maximum_value_bytes=len(large) - 1)) is Reason.TOO_LARGE
    assert reason_of(b"\xff" * 500, RecordRules(maximum_value_bytes=499)) is Reason.TOO_LARGE
    long = GOOD.replace(b"red", "ä".encode() * 90)
    assert reason_of(long, RecordRules(maximum_text_characters=90)) is None
    assert reason_of(long, RecordRules(maximum_text_characters=89)) is Reason.TOO_LARGE


def test_a_null_value_among_large_ones_keeps_its_own_reason() -> None:
    decoder = Decoder(FIELDS, RecordRules(maximum_value_bytes=len(GOOD)))
    decoded = decoder.decode([None, GOOD, GOOD + b" ", None])
    assert decoded.rows == [1]
    assert [f.reason for f in decoded.failures] == [Reason.NULL_VALUE, Reason.TOO_LARGE, Reason.NULL_VALUE]


@pytest.mark.parametrize("escape", [b"\\u0000", b"a\\u0000b"])
def test_null_characters_are_refused_in_declared_text_alone(escape: bytes) -> None:
    rules = RecordRules(null_characters=Answer.DEAD_LETTER)
    assert reason_of(GOOD.replace(b"red", escape), rules) is Reason.NULL_CHARACTER
    assert reason_of(GOOD.replace(b"red", escape), RecordRules()) is None
    assert reason_of(behind(b'"junk":"%b"' % escape), rules) is None
    assert reason_of(GOOD.replace(b"red", b"\\\\u0000"), rules) is None  # a backslash, and text behind it


@pytest.mark.parametrize("rules", [RecordRules(), ORDINARY, UNKNOWN])
def test_a_record_is_utf_8_throughout_also_where_nobody_looks(rules: RecordRules) -> None:
    assert reason_of(behind(b'"junk":"\xff"'), rules) is Reason.MALFORMED_JSON
    assert reason_of(GOOD.replace(b"red", "ä\U0001f600".encode()), rules) is None


@pytest.mark.parametrize(
    "rules",
    [
        RecordRules(maximum_depth=0),
        RecordRules(maximum_key_bytes=-1),
        RecordRules(ahead_s=-1.0),
        RecordRules(behind_s=float("nan")),
    ],
)
def test_rules_that_no_record_could_keep_are_mistakes(rules: RecordRules) -> None:
    assert len([*rules.mistakes()]) == 1
    assert [*ORDINARY.mistakes()] == []
    assert [*RecordRules(maximum_headers=0).mistakes()] == []


def test_the_rules_of_a_bundle_without_any_are_those_of_the_first_format() -> None:
    assert msgspec.json.decode(b"{}", type=RecordRules) == RecordRules()
    assert {getattr(RecordRules(), name) for name in RecordRules.__struct_fields__} == {None, Answer.IGNORE}


GOODS = st.sampled_from([GOOD, ONCE[1], ONCE[4]])
BADS = st.sampled_from([TWICE[0], TWICE[7], b"{", b"null", behind(b'"z":1'), behind(b'"j":' + b"[" * 99 + b"]" * 99)])


@given(st.lists(st.one_of(GOODS, GOODS, BADS, st.none(), st.binary(max_size=30)), max_size=12))
def test_no_record_changes_what_becomes_of_another(values: list[bytes | None]) -> None:
    decoder = Decoder(FIELDS, msgspec.structs.replace(ORDINARY, unknown_fields=Answer.DEAD_LETTER))
    decoded = decoder.decode(values)
    assert sorted([*decoded.rows, *(f.index for f in decoded.failures)]) == list(range(len(values)))
    alone = [decoder.decode([value]) for value in values]
    together = {failure.index: failure.reason for failure in decoded.failures}
    assert together == {place: one.failures[0].reason for place, one in enumerate(alone) if one.failures}
    assert list(decoded.columns["color"]) == [word for one in alone for word in one.columns["color"]]
