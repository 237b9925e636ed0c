"""Signed CloudEvents: what must not be believed is refused with its reason, and nothing else ever escapes."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.envelope import KEY_ID_HEADER, MAXIMUM_VALUE_BYTES, SIGNATURE_HEADER, Keyring, Sealed
from scoring.contract.errors import (
    MAXIMUM_SENTENCE_CHARACTERS,
    ConfigurationError,
    EnvelopeRejected,
    Rejection,
    sentence,
)
from scoring.contract.notice import NOTICE_TYPE, Kind, Notice, seal_notice, unseal_notice

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
KEYRING = Keyring("k1", {"k1": b"1" * 32, "k2": b"2" * 32})
NOTICE = Notice(
    ledger=UUID(int=7),
    model="small",
    sequence=3,
    kind=Kind.PROMOTE,
    version="5",
    manifest_digest="ab" * 32,
    decided_at=MOMENT,
    effective_from=MOMENT,
)


def sealed(notice: Notice = NOTICE, keyring: Keyring = KEYRING) -> Sealed:
    return seal_notice(notice, source="test", event_id="e1", time=MOMENT, keyring=keyring)


def signed(value: bytes, key: bytes = b"small") -> Sealed:
    """Any bytes with a good signature."""
    signature = hmac.new(KEYRING.keys["k1"], value, hashlib.sha256).hexdigest().encode()
    return Sealed(key, value, [(KEY_ID_HEADER, b"k1"), (SIGNATURE_HEADER, signature)])


def opened(message: Sealed, keyring: Keyring = KEYRING) -> Notice:
    return unseal_notice(message.key, message.value, [*message.headers], keyring)


def rejection(message: Sealed, keyring: Keyring = KEYRING) -> Rejection:
    with pytest.raises(EnvelopeRejected) as caught:
        opened(message, keyring)
    return caught.value.reason


def event_with(**changes: object) -> bytes:
    return msgspec.json.encode({**json.loads(sealed().value), **changes})


def test_what_was_sealed_is_opened_again() -> None:
    assert opened(sealed()) == NOTICE


def test_the_value_is_a_cloudevent_in_structured_mode() -> None:
    message = sealed()
    event = json.loads(message.value)
    assert event.pop("data")["model"] == "small"
    assert event == {
        "specversion": "1.0",
        "id": "e1",
        "source": "test",
        "type": NOTICE_TYPE,
        "subject": "small",
        "time": "2026-03-01T12:30:00Z",
        "datacontenttype": "application/json",
    }
    assert dict(message.headers)["content-type"] == b"application/cloudevents+json"
    assert message.key == b"small"


def test_a_tombstone_is_refused_as_such() -> None:
    with pytest.raises(EnvelopeRejected) as caught:
        unseal_notice(b"small", None, [*sealed().headers], KEYRING)
    assert caught.value.reason is Rejection.TOMBSTONE


@pytest.mark.parametrize("missing", [KEY_ID_HEADER, SIGNATURE_HEADER])
def test_without_signature_or_key_id_it_is_unsigned(missing: str) -> None:
    message = sealed()
    headers = [header for header in message.headers if header[0] != missing]
    assert rejection(Sealed(message.key, message.value, headers)) is Rejection.UNSIGNED


def test_without_any_headers_it_is_unsigned() -> None:
    with pytest.raises(EnvelopeRejected) as caught:
        unseal_notice(b"small", sealed().value, None, KEYRING)
    assert caught.value.reason is Rejection.UNSIGNED


def test_null_headers_are_unsigned() -> None:
    with pytest.raises(EnvelopeRejected) as caught:
        unseal_notice(b"small", sealed().value, [(KEY_ID_HEADER, None), (SIGNATURE_HEADER, None)], KEYRING)
    assert caught.value.reason is Rejection.UNSIGNED


def test_a_key_that_is_not_in_the_ring_is_unknown() -> None:
    other = Keyring("k9", {"k9": b"9" * 32})
    assert rejection(sealed(keyring=other)) is Rejection.UNKNOWN_KEY


def test_another_key_under_the_same_id_is_a_bad_signature() -> None:
    other = Keyring("k1", {"k1": b"9" * 32})
    assert rejection(sealed(keyring=other)) is Rejection.BAD_SIGNATURE


def test_keys_rotate() -> None:
    old, new = KEYRING, Keyring("k2", {"k2": b"2" * 32})
    rotating = Keyring("k2", dict(KEYRING.keys))
    assert opened(sealed(keyring=old), rotating) == NOTICE
    assert opened(sealed(keyring=rotating), new) == NOTICE
    assert rejection(sealed(keyring=old), new) is Rejection.UNKNOWN_KEY


def test_every_flipped_bit_of_the_value_is_noticed() -> None:
    message = sealed()
    for place in range(len(message.value)):
        for bit in range(8):
            damaged = bytearray(message.value)
            damaged[place] ^= 1 << bit
            assert rejection(Sealed(message.key, bytes(damaged), message.headers)) is Rejection.BAD_SIGNATURE


def test_every_flipped_bit_of_signature_and_key_id_is_noticed() -> None:
    message = sealed()
    for name in (SIGNATURE_HEADER, KEY_ID_HEADER):
        content = dict(message.headers)[name]
        for place in range(len(content)):
            for bit in range(8):
                damaged = bytearray(content)
                damaged[place] ^= 1 << bit
                headers = [(n, bytes(damaged) if n == name else c) for n, c in message.headers]
                reason = rejection(Sealed(message.key, message.value, headers))
                assert reason in {Rejection.BAD_SIGNATURE, Rejection.UNKNOWN_KEY}


def test_the_record_key_must_be_the_subject() -> None:
    message = sealed()
    for key in (b"other", b"", b"small\n", b"\xff"):
        assert rejection(Sealed(key, message.value, message.headers)) is Rejection.WRONG_SUBJECT
    with pytest.raises(EnvelopeRejected):
        unseal_notice(None, message.value, [*message.headers], KEYRING)


def test_a_notice_for_another_model_than_its_subject_is_refused() -> None:
    data = {**json.loads(sealed().value)["data"], "model": "other"}
    assert rejection(signed(event_with(data=data))) is Rejection.WRONG_SUBJECT


@pytest.mark.parametrize("kind", ["baton.notice.v2", "baton.heartbeat.v1", ""])
def test_an_unknown_type_or_major_version_is_refused(kind: str) -> None:
    assert rejection(signed(event_with(type=kind))) is Rejection.UNKNOWN_VERSION


ABSURD = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"specversion":"1.0"',
    b"[" * 50_000,
    b'{"data":' * 50_000,
    b'{"id":"\xff"}',
    b'{"id":"\\ud800"}',
    event_with(specversion="2.0"),
    event_with(id=None),
    event_with(time="yesterday"),
    event_with(subject=["small"]),
    event_with(data=None),
    event_with(data="text"),
    event_with(data=[]),
    event_with(data={}),
    event_with(data={**msgspec.to_builtins(NOTICE), "sequence": 0}),
    event_with(data={**msgspec.to_builtins(NOTICE), "sequence": "3"}),
    event_with(data={**msgspec.to_builtins(NOTICE), "sequence": 1e300}),
    event_with(data={**msgspec.to_builtins(NOTICE), "kind": "delete"}),
    event_with(data={**msgspec.to_builtins(NOTICE), "ledger": "7"}),
    event_with(data={**msgspec.to_builtins(NOTICE), "manifest_digest": "AB" * 32}),
    event_with(data={**msgspec.to_builtins(NOTICE), "manifest_digest": "ab" * 32 + "\n"}),
    event_with(data={**msgspec.to_builtins(NOTICE), "model": "../etc"}),
    event_with(data={**msgspec.to_builtins(NOTICE), "model": "small\n"}),
]


@pytest.mark.parametrize("value", ABSURD, ids=range(len(ABSURD)))
def test_absurd_content_with_a_good_signature_is_malformed(value: bytes) -> None:
    assert rejection(signed(value)) is Rejection.MALFORMED


@given(st.binary(max_size=200))
def test_whatever_is_signed_nothing_but_a_rejection_escapes(value: bytes) -> None:
    with pytest.raises(EnvelopeRejected):
        opened(signed(value))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(json.loads(sealed().value))), JSON)
def test_any_field_may_hold_anything(field: str, content: object) -> None:
    value = json.dumps({**json.loads(sealed().value), field: content}, allow_nan=False).encode()
    try:
        assert opened(signed(value)).model == "small"
    except EnvelopeRejected as error:
        assert error.reason in Rejection  # noqa: PT017 - either is right


@given(st.sampled_from(sorted(msgspec.to_builtins(NOTICE))), JSON)
def test_any_field_of_the_data_may_hold_anything(field: str, content: object) -> None:
    event = json.loads(sealed().value)
    event["data"][field] = content
    try:
        assert opened(signed(json.dumps(event, allow_nan=False).encode())).model == "small"
    except EnvelopeRejected as error:
        assert error.reason in Rejection  # noqa: PT017 - either is right


def test_unknown_fields_are_let_through_so_that_minor_versions_can_add_some() -> None:
    event = json.loads(sealed().value)
    event["data"]["new"] = 1
    assert opened(signed(msgspec.json.encode({**event, "extension": "x"}))) == NOTICE


def test_the_keyring_reads_its_file() -> None:
    secret = base64.b64encode(b"1" * 32).decode()
    assert Keyring.from_json(json.dumps({"active": "k1", "keys": {"k1": secret}}).encode()).keys == {"k1": b"1" * 32}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"active": "k1", "keys": {"k1": "???"}}',
        b'{"active": "k1", "keys": {"k1": "MTEx"}}',
        b'{"active": "k2", "keys": {"k1": "' + base64.b64encode(b"1" * 32) + b'"}}',
    ],
)
def test_a_wrong_keyring_file_is_a_configuration_error(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="signing keys"):
        Keyring.from_json(content)


def test_the_keyring_never_shows_its_secrets() -> None:
    assert "1111" not in repr(KEYRING)
    assert "1111" not in str(KEYRING)
    assert "k1" in repr(KEYRING)


# --- bounds -------------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_refused_before_its_signature_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    message = signed(b" " * MAXIMUM_VALUE_BYTES + sealed().value)
    monkeypatch.setattr("scoring.contract.envelope._signature", None)
    assert rejection(message) is Rejection.TOO_LARGE


def test_a_key_that_is_there_twice_is_refused_wherever_it_is() -> None:
    value = sealed().value
    for old in (b'"specversion":', b'"sequence":', b'"model":'):
        twice = value.replace(old, old + b"0," + old, 1)
        assert rejection(signed(twice)) is Rejection.MALFORMED
    extended = value.replace(b'"specversion":', b'"more":{"a":1,"a":2},"specversion":', 1)
    assert rejection(signed(extended)) is Rejection.MALFORMED
    assert opened(signed(value.replace(b'"specversion":', b'"more":{"a":1},"specversion":', 1))) == NOTICE


@pytest.mark.parametrize("sequence", [2**31, 10**30, 0, -1])
def test_a_sequence_beyond_the_ledgers_is_refused(sequence: int) -> None:
    assert rejection(sealed(msgspec.structs.replace(NOTICE, sequence=sequence))) is Rejection.MALFORMED


@pytest.mark.parametrize("version", ["", "-h", "../2", "a/b", "2 ", "2\n", "2\0", "x" * 64, "\u0662"])
def test_a_version_that_could_lead_elsewhere_is_refused(version: str) -> None:
    assert rejection(sealed(msgspec.structs.replace(NOTICE, version=version))) is Rejection.MALFORMED


def test_a_time_without_an_offset_is_refused() -> None:
    naive = MOMENT.replace(tzinfo=None)
    assert rejection(sealed(msgspec.structs.replace(NOTICE, decided_at=naive))) is Rejection.MALFORMED


def test_a_sentence_fits_a_message_whatever_made_it() -> None:
    with pytest.raises(UnicodeEncodeError):
        msgspec.json.encode("a\udcffb")
    assert sentence("a\udcffb") == "a\\udcffb"
    assert len(sentence("x" * 10_000)) == MAXIMUM_SENTENCE_CHARACTERS
    assert sentence(ValueError("short")) == "short"
