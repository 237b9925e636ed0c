"""Hostile messages, class by class. Each function makes one, from a chooser that decides everything."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from scoring.contract.envelope import KEY_ID_HEADER, SIGNATURE_HEADER, Keyring
from tests.support.forge import (
    AHEAD,
    LEDGER,
    LIVE_SEQUENCE,
    OTHER_LEDGER,
    SECRET,
    Forge,
    Message,
    resigned,
    rewritten,
    signed,
)

KINDS = ("notice", "acknowledgement", "heartbeat")
SIZES_MB = (1.1, 2, 4, 8)
Make = Callable[[Forge, str], Message]
Headers = list[tuple[str, bytes | None]]


def make(name: str, forge: Forge, number: int) -> tuple[str, Message]:
    """One message of a class; returns its variant and itself. Kinds and variants take turns."""
    kind = KINDS[number % len(KINDS)]
    variants = _CLASSES[name]
    variant = variants[number // len(KINDS) % len(variants)]
    return f"{kind}: {variant.__name__.strip('_').replace('_', ' ')}", variant(forge, kind)


# --- damaged on the way -------------------------------------------------------------------------------------------


def _flipped_bits(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    where, flips = forge.chooser.choice(("value", "value", "key", "signature", "key id")), forge.chooser.randint(1, 8)
    return _with(good, where, lambda content: _flip(forge.chooser, content, flips))


def _cut(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    where = forge.chooser.choice(("value", "value", "signature", "key"))
    return _with(good, where, lambda content: content[: forge.chooser.randrange(len(content))])


def _with(good: Message, where: str, change: Callable[[bytes], bytes]) -> Message:
    headers = dict(good.headers)
    key, value = good.key or b"", good.value or b""
    if where in {"signature", "key id"}:
        name = SIGNATURE_HEADER if where == "signature" else KEY_ID_HEADER
        headers[name] = change(headers[name] or b"")
        return Message(good.kind, key, value, [*headers.items()])
    changed = (change(key), value) if where == "key" else (key, change(value))
    return Message(good.kind, *changed, [*headers.items()])


def _flip(chooser: random.Random, content: bytes, flips: int) -> bytes:
    spoiled = bytearray(content)
    for place in chooser.sample(range(len(content) * 8), min(flips, len(content) * 8)):
        spoiled[place // 8] ^= 1 << place % 8
    return bytes(spoiled)


# --- put together from good parts ---------------------------------------------------------------------------------


def _signature_of_another(forge: Forge, kind: str) -> Message:
    good, other = forge.sealed(kind, AHEAD), forge.sealed(kind, LIVE_SEQUENCE)
    return Message(kind, good.key, good.value, other.headers)


def _another_kind(forge: Forge, kind: str) -> Message:
    other = forge.sealed(KINDS[(KINDS.index(kind) + forge.chooser.randint(1, 2)) % 3], AHEAD)
    return Message(kind, other.key, other.value, other.headers)


def _the_data_of_another_kind(forge: Forge, kind: str) -> Message:
    other = json.loads(forge.sealed(KINDS[KINDS.index(kind) - 1], AHEAD).value or b"")["data"]
    return resigned(forge.sealed(kind, AHEAD), lambda event: event.update(data=other))


def _another_key_of_the_record(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    key = forge.chooser.choice((b"other", b"", None, b"d/1", (good.key or b"") + b"\0", (good.key or b"").upper()))
    return Message(kind, key, good.value, good.headers)


def _another_subject_than_the_data(forge: Forge, kind: str) -> Message:
    good = resigned(forge.sealed(kind, AHEAD), lambda event: event.update(subject="other"))
    return Message(kind, b"other", good.value, good.headers)


def _a_name_that_is_none(forge: Forge, kind: str) -> Message:
    name = forge.chooser.choice(("../other", "Small", "small ", "small\n", "", "x" * 64, "1small", "smäll"))
    good = forge.sealed(kind, AHEAD)
    inside = "worker" if kind == "heartbeat" else "model"
    changed = resigned(good, lambda event: event["data"].update({inside: name}))
    return Message(kind, good.key, changed.value, changed.headers)


# --- said before --------------------------------------------------------------------------------------------------


def _said_before(forge: Forge, kind: str) -> Message:
    return forge.sealed(kind, forge.chooser.randint(1, LIVE_SEQUENCE), **_of_before(forge, kind))


def _said_long_ago_with_another_decision(forge: Forge, kind: str) -> Message:
    changes = _of_before(forge, kind)
    if kind == "notice":
        changes["kind"] = forge.chooser.choice(("retire", "rollback"))
    return forge.sealed(kind, forge.chooser.randint(1, LIVE_SEQUENCE), **changes)


def _of_another_ledger(forge: Forge, kind: str) -> Message:
    return forge.sealed(kind, AHEAD + forge.chooser.randrange(1_000), ledger=OTHER_LEDGER)


def _of_before(forge: Forge, kind: str) -> dict[str, Any]:
    if kind == "heartbeat":
        return {"counter": forge.chooser.randrange(100), "ledger": LEDGER}
    return {"ledger": LEDGER}


# --- not signed, or by somebody else ------------------------------------------------------------------------------


def _without_signature(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    choices: tuple[Headers, ...] = ([], good.headers[:1], good.headers[:2], [(SIGNATURE_HEADER, None)])
    return Message(kind, good.key, good.value, forge.chooser.choice(choices))


def _with_headers_that_look_alike(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    spoil = forge.chooser.choice((str.upper, str.title, lambda name: f" {name}", lambda name: name.replace("-", "_")))
    return Message(kind, good.key, good.value, [(spoil(name), content) for name, content in good.headers])


def _by_an_unknown_key(forge: Forge, kind: str) -> Message:
    name = forge.word()
    return forge.sealed(kind, AHEAD, Keyring(name, {name: forge.chooser.randbytes(32)}))


def _by_another_key_of_the_same_name(forge: Forge, kind: str) -> Message:
    return forge.sealed(kind, AHEAD, Keyring("k1", {"k1": forge.chooser.randbytes(32)}))


def _by_a_name_that_looks_alike(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    name = forge.chooser.choice((b"K1", b"k1 ", b"k1\0", b"\xff", b"", b"k1,k2", b"none", "κ1".encode()))
    return Message(kind, good.key, good.value, [(KEY_ID_HEADER, name), (SIGNATURE_HEADER, good.headers[-1][1])])


def _with_a_signature_that_looks_alike(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    signature = good.headers[-1][1] or b""
    other = forge.chooser.choice(
        (b"", signature.upper() + b" ", bytes.fromhex(signature.decode()), b"0" * 64, signature + b"\n", signature[:32])
    )
    return Message(kind, good.key, good.value, [(KEY_ID_HEADER, b"k1"), (SIGNATURE_HEADER, other)])


# --- absurd, and signed -------------------------------------------------------------------------------------------

_NUMBERS = (
    "1e999",
    "-1e999",
    "1" + "0" * 400,
    "1" + "0" * 5_000,
    "-1",
    "0.5",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e3",
    "true",
    '"1001"',
    "null",
    "[]",
    "{}",
    "9223372036854775808",
    "-9223372036854775809",
    "0x10",
    "01",
)
_TIMES = ("2026-03-01T12:30:00", "2026-13-45T99:99:99Z", "0000-00-00T00:00:00Z", "", "now", "1e999")
_VERSIONS = ("../../2", "/etc/passwd", "-h", "--help", "2\\u0000", "2 ", "2" * 64, "\\u0662", "", "2;rm", "2\\n")


def _absurd_numbers(forge: Forge, kind: str) -> Message:
    good, field = forge.sealed(kind, AHEAD), b'"counter":5000' if kind == "heartbeat" else b'"sequence":2000000'
    number = forge.chooser.choice(_NUMBERS).encode()
    return rewritten(good, field, field[: field.index(b":") + 1] + number)


def _deep_nesting(forge: Forge, kind: str) -> Message:
    depth = forge.chooser.choice((5_000, 50_000, 200_000))
    opening, closing = forge.chooser.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nested = opening * depth + (b"1" if opening != b"[" else b"") + closing * depth
    where = forge.chooser.choice((b'"data":', b'"specversion":'))
    return rewritten(forge.sealed(kind, AHEAD), where, b'"nested":' + nested + b"," + where)


def _a_key_twice(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    data = json.loads(good.value or b"")["data"]
    name = forge.chooser.choice([*data])
    twice = f'"data":{{{json.dumps(name)}:{json.dumps(data[name])},'.encode()
    if forge.chooser.random() < 0.3:
        return rewritten(good, b'"specversion":"1.0"', b'"specversion":"1.0","specversion":"1.0"')
    return rewritten(good, b'"data":{', twice)


def _broken_text(forge: Forge, kind: str) -> Message:
    spoiled = (b"\\ud800", b"\\udc00\\ud800", b"\xed\xa0\x80", b"\xff", b"\xc0\xaf", b"\\u12", b"\\x41", b"\x01", b"\n")
    field = forge.chooser.choice((b'"version":"2', b'"source":"'))
    return rewritten(forge.sealed(kind, AHEAD), field, field + forge.chooser.choice(spoiled))


def _another_form(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    value = good.value or b""
    forms = (
        b"",
        b"null",
        b"[]",
        b"0",
        b'"x"',
        b"\xef\xbb\xbf" + value,
        value.decode().encode("utf-16"),
        value * 2,
        value + b"}",
        b"[" + value + b"]",
        b"/**/" + value,
        value.replace(b'"', b"'"),
        value[:-1] + b",}",
    )
    return signed(kind, forge.chooser.choice(forms), good.key or b"")


def _a_huge_text(forge: Forge, kind: str) -> Message:
    size = 100 if forge.chooser.random() < 0.02 else forge.chooser.choice(SIZES_MB)
    field = b'"version":"2'
    return rewritten(forge.sealed(kind, AHEAD), field, field + b"2" * int(size * 2**20))


def _absurd_times(forge: Forge, kind: str) -> Message:
    field = forge.chooser.choice(("decided_at", "effective_from") if kind == "notice" else ("at",))
    time = forge.chooser.choice(_TIMES)
    return resigned(forge.sealed(kind, AHEAD), lambda event: event["data"].update({field: time}))


def _absurd_versions(forge: Forge, kind: str) -> Message:
    version = forge.chooser.choice(_VERSIONS).encode()
    return rewritten(forge.sealed(kind, AHEAD), b'"version":"2"', b'"version":"' + version + b'"')


def _another_type(forge: Forge, kind: str) -> Message:
    name = forge.chooser.choice(("type", "specversion", "datacontenttype"))
    other = forge.chooser.choice(("", "2.0", "baton.notice.v2", "application/xml", "baton.notice.v1 ", "BATON"))
    return resigned(forge.sealed(kind, AHEAD), lambda event: event.update({name: other}))


def _something_missing(forge: Forge, kind: str) -> Message:
    def change(event: dict[str, object]) -> None:
        data = event["data"]
        assert isinstance(data, dict)
        optional = {"left", "ledger", "models", "rejected", "positions", "reason"} if kind != "notice" else set()
        inside = forge.chooser.choice([name for name in data if name not in optional])
        del data[inside]

    return resigned(forge.sealed(kind, AHEAD), change)


# --- tombstones ---------------------------------------------------------------------------------------------------


def _a_tombstone(forge: Forge, kind: str) -> Message:
    good = forge.sealed(kind, AHEAD)
    return Message(kind, good.key, None, forge.chooser.choice(([], good.headers)))


def _a_signed_tombstone(forge: Forge, kind: str) -> Message:
    empty = signed(kind, b"", forge.sealed(kind, AHEAD).key or b"", secret=SECRET)
    return Message(kind, empty.key, None, empty.headers)


_CLASSES: Mapping[str, tuple[Make, ...]] = {
    "bit flips": (_flipped_bits,),
    "truncation": (_cut,),
    "swapped parts": (_signature_of_another, _another_kind, _the_data_of_another_kind),
    "stale or replayed": (_said_before, _said_long_ago_with_another_decision, _of_another_ledger),
    "wrong model": (_another_key_of_the_record, _another_subject_than_the_data, _a_name_that_is_none),
    "unsigned": (_without_signature, _with_headers_that_look_alike),
    "another key": (
        _by_an_unknown_key,
        _by_another_key_of_the_same_name,
        _by_a_name_that_looks_alike,
        _with_a_signature_that_looks_alike,
    ),
    "absurd JSON": (
        _absurd_numbers,
        _deep_nesting,
        _a_key_twice,
        _broken_text,
        _another_form,
        _a_huge_text,
        _absurd_times,
        _absurd_versions,
        _another_type,
        _something_missing,
    ),
    "tombstones": (_a_tombstone, _a_signed_tombstone),
}
CLASSES = tuple(_CLASSES)
