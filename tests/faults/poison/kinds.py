"""The kinds of hostile records: a generator each, which makes another value at each call."""

import gzip
import random
from datetime import timedelta

from scoring.contract.dead_letter import Reason
from tests.faults.poison.records import RULES, Base, Sent, document, kind

_UNPRINTABLE = [bytes([code]) for code in range(1, 0x20) if code not in {0x09, 0x0A, 0x0D}]
_REQUIRED = ("id", "at", "x")


def _word(rng: random.Random, least: int = 1, most: int = 12) -> bytes:
    return bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(least, most)))


def _good(base: Base) -> bytes:
    return document(base.parts)


def _beyond(limit: int | None, rng: random.Random, most: int) -> int:
    assert limit is not None
    return rng.randint(limit + 1, limit + most)


# --- nothing there ------------------------------------------------------------------------------------------------


@kind(Reason.NULL_VALUE)
def null_value(rng: random.Random, base: Base) -> Sent:
    return base.sent(None, key=rng.randbytes(12))


@kind(Reason.NULL_VALUE)
def null_value_and_null_key(rng: random.Random, base: Base) -> Sent:
    return base.sent(None, key=None, headers=(("h", rng.randbytes(8)), ("h", None), ("null", None)))


@kind(Reason.MALFORMED_JSON)
def white_space(rng: random.Random, base: Base) -> Sent:
    return base.sent(bytes(rng.choices(b" \t\r\n", k=rng.randint(0, 40))), key=rng.randbytes(6))


# --- text that is no JSON -----------------------------------------------------------------------------------------


@kind(Reason.MALFORMED_JSON)
def truncated(rng: random.Random, base: Base) -> Sent:
    whole = _good(base)
    return base.sent(whole[: rng.randint(1, len(whole) - 1)])


@kind(Reason.MALFORMED_JSON)
def something_behind_it(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base) + rng.choice([b"}", b"]", b",", b"0", b"x", b'"', b"\x00"]) * rng.randint(1, 9))


@kind(Reason.MALFORMED_JSON)
def two_documents(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base) + rng.choice([b"", b"\n", b" ", b","]) + _good(Base(rng.getrandbits(24))))


@kind(Reason.MALFORMED_JSON)
def byte_order_mark(_rng: random.Random, base: Base) -> Sent:
    return base.sent(b"\xef\xbb\xbf" + _good(base))


@kind(Reason.MALFORMED_JSON)
def single_quotes(_rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base).replace(b'"', b"'"))


@kind(Reason.MALFORMED_JSON)
def comments(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(y=b"1 /*%b*/" % _word(rng))


@kind(Reason.MALFORMED_JSON)
def comma_at_the_end(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base)[:-1] + b"," + b" " * rng.randint(0, 9) + b"}")


@kind(Reason.MALFORMED_JSON)
def names_without_quotes(_rng: random.Random, base: Base) -> Sent:
    return base.sent(b"{" + b",".join(b"%b:%b" % (name.encode(), part) for name, part in base.parts.items()) + b"}")


@kind(Reason.MALFORMED_JSON)
def a_mark_is_missing(rng: random.Random, base: Base) -> Sent:
    value = _good(base)
    places = [value.index(b'":') + 1, value.index(b',"')]
    place = rng.choice(places)
    return base.sent(value[:place] + value[place + 1 :])


@kind(Reason.MALFORMED_JSON)
def not_closed_text(_rng: random.Random, base: Base) -> Sent:
    return base.sent(document({**base.parts, "color": b'"blue'}))


@kind(Reason.MALFORMED_JSON)
def numbers_that_json_has_not(rng: random.Random, base: Base) -> Sent:
    digits = b"%d" % rng.randint(1, 10**9)
    forms = [b"0%b", b"+%b", b".%b", b"%b.", b"0x%b", b"1_%b", b"%be", b"-", b"--%b", b"%b,5x"]
    return base.with_parts(x=rng.choice(forms).replace(b"%b", digits))


@kind(Reason.MALFORMED_JSON)
def words_for_numbers(rng: random.Random, base: Base) -> Sent:
    words = [b"NaN", b"nan", b"Infinity", b"-Infinity", b"inf", b"None", b"True", b"undefined"]
    return base.with_parts(**{rng.choice(["x", "y"]): rng.choice(words)})


# --- text that is no text -----------------------------------------------------------------------------------------


@kind(Reason.MALFORMED_JSON)
def no_utf8_in_a_field(rng: random.Random, base: Base) -> Sent:
    broken = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80", b"\xed\xa0\x80\xed\xb0\x80"]
    return base.with_parts(color=b'"%b%b"' % (_word(rng), rng.choice(broken)))


@kind(Reason.MALFORMED_JSON)
def no_utf8_in_what_nobody_declared(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(junk=b'"%b\xff\xfe%b"' % (_word(rng), _word(rng)))


@kind(Reason.MALFORMED_JSON)
def lone_surrogates(rng: random.Random, base: Base) -> Sent:
    text = b'"%b\\u%04x%b"' % (_word(rng), rng.randint(0xD800, 0xDFFF), _word(rng))
    return base.with_parts(**{rng.choice(["id", "color", "junk"]): text})


@kind(Reason.MALFORMED_JSON)
def bad_escapes(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(color=b'"%b%b"' % (_word(rng), rng.choice([b"\\x41", b"\\u12", b"\\q", b"\\u00g0", b"\\'"])))


@kind(Reason.MALFORMED_JSON)
def bare_control_characters(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(color=b'"%b%b%b"' % (_word(rng), rng.choice(_UNPRINTABLE), _word(rng)))


@kind(Reason.MALFORMED_JSON)
def utf_16(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base).decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-16-be"])))


@kind(Reason.MALFORMED_JSON)
def utf_32(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base).decode().encode(rng.choice(["utf-32", "utf-32-le", "utf-32-be"])))


@kind(Reason.MALFORMED_JSON)
def compressed(_rng: random.Random, base: Base) -> Sent:
    return base.sent(gzip.compress(_good(base), mtime=0))


@kind(Reason.MALFORMED_JSON)
def framed_for_a_schema_registry(rng: random.Random, base: Base) -> Sent:
    return base.sent(b"\x00" + rng.randbytes(4) + _good(base))


@kind(Reason.MALFORMED_JSON)
def random_bytes(rng: random.Random, base: Base) -> Sent:
    return base.sent(b"\xfe" + rng.randbytes(rng.randint(4, 400)))


@kind(Reason.MALFORMED_JSON)
def a_web_page(rng: random.Random, base: Base) -> Sent:
    return base.sent(b"<html><body>502 Bad Gateway %b</body></html>" % _word(rng, 8))


# --- another type -------------------------------------------------------------------------------------------------


@kind(Reason.WRONG_TYPE)
def in_an_array(rng: random.Random, base: Base) -> Sent:
    return base.sent(b"[" + b",".join([_good(base)] * rng.randint(1, 3)) + b"]")


@kind(Reason.WRONG_TYPE)
def no_object(rng: random.Random, base: Base) -> Sent:
    pad = bytes(rng.choices(b" \t\n", k=20))
    bare = [b'"%b"' % _word(rng, 6), b"%d" % rng.getrandbits(60), *(pad + word + pad for word in (b"true", b"null"))]
    return base.sent(rng.choice(bare))


@kind(Reason.WRONG_TYPE)
def json_within_json(_rng: random.Random, base: Base) -> Sent:
    return base.sent(b'"%b"' % _good(base).replace(b'"', b'\\"'))


@kind(Reason.WRONG_TYPE)
def numbers_as_text(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(x=b'"%d"' % rng.randint(0, 10**9))


@kind(Reason.WRONG_TYPE)
def booleans_as_numbers(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(**rng.choice([{"x": b"true"}, {"x": b"false"}, {"y": b"true"}]))


@kind(Reason.WRONG_TYPE)
def numbers_as_booleans(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(flag=rng.choice([b"0", b"1", b'"true"', b'"yes"', b"%d" % rng.getrandbits(30)]))


@kind(Reason.WRONG_TYPE)
def null_where_something_must_be(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(**{rng.choice(_REQUIRED): b"null"})


@kind(Reason.WRONG_TYPE)
def an_object_in_a_field(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(**{rng.choice([*base.parts]): b'{"%b":1}' % _word(rng)})


@kind(Reason.WRONG_TYPE)
def an_array_in_a_field(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(**{rng.choice([*base.parts]): b"[%d]" % rng.getrandbits(40)})


@kind(Reason.WRONG_TYPE)
def numbers_for_the_key(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(id=b"%d" % rng.getrandbits(60))


@kind(Reason.WRONG_TYPE)
def times_without_an_offset(rng: random.Random, base: Base) -> Sent:
    forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%d.%m.%Y %H:%M", "%a %b %d %Y", "%Y%m%dT%H%M%S", "%H:%M"]
    return base.with_parts(at=b'"%b"' % base.at.strftime(rng.choice(forms)).encode())


@kind(Reason.WRONG_TYPE)
def times_that_are_none(rng: random.Random, base: Base) -> Sent:
    forms = [b"2026-02-%02dT12:00:00Z", b"2026-%02d-01T00:00:00Z", b"2026-01-01T%02d:00:00Z", b"2026-01-01T00:%02d:00Z"]
    return base.with_parts(at=b'"%b"' % (rng.choice(forms) % rng.randint(60, 99)))


@kind(Reason.WRONG_TYPE)
def times_as_numbers(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(at=b"%d" % (1_772_000_000_000 + rng.getrandbits(40)))


@kind(Reason.WRONG_TYPE)
def times_beyond_the_calendar(rng: random.Random, base: Base) -> Sent:
    late = b'"9999-12-31T23:%02d:59-01:%02d"' % (rng.randint(0, 59), rng.randint(0, 59))
    early = b'"0001-01-01T00:%02d:00+01:%02d"' % (rng.randint(0, 59), rng.randint(0, 59))
    return base.with_parts(**{rng.choice(["at", "until"]): rng.choice([late, early])})


# --- something is missing, or there is too much of it -------------------------------------------------------------


@kind(Reason.MISSING_FIELD)
def a_required_field_is_missing(rng: random.Random, base: Base) -> Sent:
    parts = base.parts
    del parts[rng.choice(_REQUIRED)]
    return base.sent(document(parts))


@kind(Reason.MISSING_FIELD)
def something_else_altogether(rng: random.Random, base: Base) -> Sent:
    return base.sent(b'{"%b":"%b","level":"info"}' % (_word(rng, 6), _word(rng, 6)))


@kind(Reason.MISSING_FIELD)
def names_in_upper_case(_rng: random.Random, base: Base) -> Sent:
    return base.sent(document({name.upper(): content for name, content in base.parts.items()}))


@kind(Reason.MISSING_FIELD)
def in_an_envelope(_rng: random.Random, base: Base) -> Sent:
    return base.sent(b'{"payload":%b}' % _good(base))


@kind(Reason.UNKNOWN_FIELD)
def a_field_that_nobody_declared(rng: random.Random, base: Base) -> Sent:
    contents = [b"1", b"null", b'"text"', b"[1,2]", b'{"a":{"b":[]}}', b'"a\\":b"', b'":"', b"1" * 400]
    return base.with_parts(**{f"z_{_word(rng, 6).decode()}": rng.choice(contents)})


@kind(Reason.UNKNOWN_FIELD)
def a_field_almost_as_declared(rng: random.Random, base: Base) -> Sent:
    names = ["Color", "color ", " color", "col\\u006fr2", "flag\\u0000", "FLAG", "", "__proto__", "$.x", "x.y"]
    return base.with_parts(**{rng.choice(names): b"%d" % rng.getrandbits(30)})


@kind(Reason.REPEATED_KEY)
def a_key_twice(rng: random.Random, base: Base) -> Sent:
    name = rng.choice([*base.parts])
    return base.sent(_good(base)[:-1] + b',"%b":%b}' % (name.encode(), base.parts[name]))


@kind(Reason.REPEATED_KEY)
def a_key_twice_and_another_missing(rng: random.Random, base: Base) -> Sent:
    parts = base.parts
    del parts[rng.choice(["color", "flag", "until", "y"])]
    return base.sent(document(parts)[:-1] + b',"x":%d}' % rng.getrandbits(30))


@kind(Reason.REPEATED_KEY)
def a_key_twice_once_escaped(rng: random.Random, base: Base) -> Sent:
    name = rng.choice([*base.parts])
    escaped = b"".join(b"\\u%04x" % byte if rng.random() < 0.7 else bytes([byte]) for byte in name.encode())
    return base.sent(b'{"%b":%b,' % (escaped, base.parts[name]) + _good(base)[1:])


@kind(Reason.REPEATED_KEY)
def a_key_twice_with_space_behind_it(rng: random.Random, base: Base) -> Sent:
    space = bytes(rng.choices(b" \t\r\n", k=rng.randint(1, 9)))
    return base.sent(_good(base)[:-1] + b',"y"%b:%b%d}' % (space, space, rng.getrandbits(30)))


@kind(Reason.REPEATED_KEY)
def a_key_twice_further_down(rng: random.Random, base: Base) -> Sent:
    word = _word(rng)
    return base.with_parts(junk=b'[{"a":[{"%b":1,"b":2,"%b":3}]}]' % (word, word))


@kind(Reason.REPEATED_KEY)
def a_null_twice(rng: random.Random, base: Base) -> Sent:
    name = rng.choice(["color", "flag", "until", "y"])
    parts = base.parts
    del parts[name]
    return base.sent(document(parts)[:-1] + b',"%b":null,"%b":null}' % (name.encode(), name.encode()))


# --- absurd -------------------------------------------------------------------------------------------------------


@kind(Reason.NON_FINITE)
def numbers_beyond_float64(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(x=b"%d.%de%d" % (rng.randint(1, 9), rng.getrandbits(20), rng.randint(309, 9_999)))


@kind(Reason.NON_FINITE)
def negative_numbers_beyond_float64(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(y=b"-%de%d" % (rng.randint(1, 10**9), rng.randint(400, 9_999)))


@kind(Reason.NON_FINITE)
def whole_numbers_without_end(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(x=b"%d" % (10 ** rng.randint(310, 4_000) + rng.getrandbits(60)))


@kind(Reason.TOO_DEEP)
def arrays_within_arrays(rng: random.Random, base: Base) -> Sent:
    depth = _beyond(RULES.maximum_depth, rng, 3_000)
    return base.with_parts(junk=b"[" * depth + b"%d" % rng.getrandbits(30) + b"]" * depth)


@kind(Reason.TOO_DEEP)
def objects_within_objects(rng: random.Random, base: Base) -> Sent:
    depth = _beyond(RULES.maximum_depth, rng, 800)
    return base.with_parts(junk=b'{"a":' * depth + b'"%b"' % _word(rng) + b"}" * depth)


@kind(Reason.TOO_LARGE)
def a_large_value(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base) + b" " * _beyond(RULES.maximum_value_bytes, rng, 9_000))


@kind(Reason.TOO_LARGE)
def large_and_no_json(rng: random.Random, base: Base) -> Sent:
    return base.sent(rng.choice([b"[", b"{", b"\xff", b"9", b'{"a":']) * _beyond(RULES.maximum_value_bytes, rng, 9_000))


@kind(Reason.TOO_LARGE)
def a_long_text(rng: random.Random, base: Base) -> Sent:
    length = _beyond(RULES.maximum_text_characters, rng, 3_000)
    return base.with_parts(**{rng.choice(["id", "color"]): b'"%b"' % _word(rng, length, length)})


@kind(Reason.TOO_LARGE)
def a_long_key(rng: random.Random, base: Base) -> Sent:
    return base.sent(_good(base), key=rng.randbytes(_beyond(RULES.maximum_key_bytes, rng, 2_000)))


@kind(Reason.TOO_LARGE)
def many_headers(rng: random.Random, base: Base) -> Sent:
    count = _beyond(RULES.maximum_headers, rng, 60)
    return base.sent(_good(base), headers=tuple((f"h{place % 7}", rng.randbytes(3)) for place in range(count)))


@kind(Reason.TOO_LARGE)
def large_headers(rng: random.Random, base: Base) -> Sent:
    size = _beyond(RULES.maximum_header_bytes, rng, 4_000)
    return base.sent(_good(base), headers=(("baton-dead-letter-reason", b"mine"), ("traceparent", rng.randbytes(size))))


@kind(Reason.NULL_CHARACTER)
def null_characters(rng: random.Random, base: Base) -> Sent:
    return base.with_parts(**{rng.choice(["id", "color"]): b'"%b\\u0000%b"' % (_word(rng), _word(rng))})


@kind(Reason.CLOCK_OFF)
def a_clock_ahead(rng: random.Random, base: Base) -> Sent:
    moment = base.at - timedelta(hours=1, seconds=rng.randint(1, 10**8))
    return base.sent(_good(base), timestamp_ms=int(moment.timestamp() * 1000))


@kind(Reason.CLOCK_OFF)
def a_clock_behind(rng: random.Random, base: Base) -> Sent:
    moment = base.at + timedelta(days=1, seconds=rng.randint(1, 10**7))
    return base.sent(_good(base), timestamp_ms=int(moment.timestamp() * 1000))
