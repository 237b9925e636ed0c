"""Signed CloudEvents: the outer form of notices, acknowledgements and heartbeats (protocol A.8).

A message's value is a CloudEvent in structured JSON mode (CloudEvents 1.0). An HMAC-SHA256 over exactly those bytes
and the id of the key that made it travel in Kafka headers, so that keys can be rotated. Kafka's key equals the
event's ``subject``.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, TypeVar

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.errors import ConfigurationError, EnvelopeRejected, Rejection
from scoring.contract.strict import require_unique_keys

SIGNATURE_HEADER = "baton-signature"
KEY_ID_HEADER = "baton-key-id"
CONTENT_TYPE = "application/cloudevents+json"
MINIMUM_KEY_BYTES = 32
# Nothing that is larger is looked at, not even its signature; heartbeats of many partitions are the largest.
MAXIMUM_VALUE_BYTES = 2**20

Headers = list[tuple[str, bytes]]
ReceivedHeaders = Iterable[tuple[str, bytes | None]]
Payload = TypeVar("Payload", bound=msgspec.Struct)


class Keyring(msgspec.Struct, frozen=True):
    """The HMAC keys that are believed, and the one that signs. Rotate by adding a key, then making it active.

    Attributes:
        active: id of the key that signs.
        keys: secret by key id; at least 32 bytes each.
    """

    active: str
    keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if self.active not in self.keys:
            raise ConfigurationError(f"signing keys: the active key {self.active!r} is not among the keys")
        short = sorted(name for name, secret in self.keys.items() if len(secret) < MINIMUM_KEY_BYTES)
        if short:
            raise ConfigurationError(f"signing keys: {', '.join(short)} shorter than {MINIMUM_KEY_BYTES} bytes")

    def __repr__(self) -> str:
        """Names the keys, never their secrets."""
        return f"Keyring(active={self.active!r}, keys={sorted(self.keys)})"

    @classmethod
    def from_json(cls, content: bytes) -> "Keyring":
        """Read ``{"active": id, "keys": {id: base64}}``.

        Raises:
            ConfigurationError: not of that form, or a key is too short.
        """
        try:
            document = msgspec.json.decode(content, type=_KeyringFile)
            keys = {name: base64.b64decode(text, validate=True) for name, text in document.keys.items()}
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigurationError('signing keys: expected {"active": id, "keys": {id: base64}}') from error
        return cls(active=document.active, keys=keys)


class _KeyringFile(msgspec.Struct):
    active: str
    keys: dict[str, str]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of a CloudEvent; ``data`` is left undecoded until the signature was checked."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: Moment
    datacontenttype: Literal["application/json"] = "application/json"
    data: msgspec.Raw


decodable(_KeyringFile, Event)


class Sealed(msgspec.Struct, frozen=True):
    """A signed message, ready to be produced."""

    key: bytes
    value: bytes
    headers: Headers


def seal(
    payload: msgspec.Struct,
    *,
    event_type: str,
    subject: str,
    source: str,
    event_id: str,
    time: datetime,
    keyring: Keyring,
) -> Sealed:
    """Wrap ``payload`` into a signed CloudEvent whose Kafka key is ``subject``."""
    event = Event(
        id=event_id,
        source=source,
        type=event_type,
        subject=subject,
        time=time,
        data=msgspec.Raw(msgspec.json.encode(payload)),
    )
    value = msgspec.json.encode(event)
    key_id, signature = sign(value, keyring)
    headers = [
        ("content-type", CONTENT_TYPE.encode()),
        (KEY_ID_HEADER, key_id.encode()),
        (SIGNATURE_HEADER, signature),
    ]
    return Sealed(subject.encode(), value, headers)


def unseal(
    key: bytes | None,
    value: bytes | None,
    headers: ReceivedHeaders | None,
    *,
    event_type: str,
    payload_type: type[Payload],
    keyring: Keyring,
) -> tuple[Event, Payload]:
    """Check and open a signed CloudEvent.

    Raises:
        EnvelopeRejected: with the reason; a receiver counts it and goes on, it never lets it escape (protocol A.8).
    """
    if value is None:
        raise EnvelopeRejected(Rejection.TOMBSTONE, "the value is null")
    if len(value) > MAXIMUM_VALUE_BYTES:
        raise EnvelopeRejected(Rejection.TOO_LARGE, f"{len(value)} bytes, at most {MAXIMUM_VALUE_BYTES} are read")
    _check_signature(value, dict(headers or ()), keyring)
    try:
        event = msgspec.json.decode(value, type=Event)
        require_unique_keys(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EnvelopeRejected(Rejection.MALFORMED, f"not a CloudEvent: {error}") from error
    if event.type != event_type:
        raise EnvelopeRejected(Rejection.UNKNOWN_VERSION, f"type {event.type!r} is not {event_type!r}")
    if key is None or event.subject.encode() != key:
        raise EnvelopeRejected(Rejection.WRONG_SUBJECT, f"the subject {event.subject!r} is not the record's key")
    try:
        return event, msgspec.json.decode(event.data, type=payload_type)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EnvelopeRejected(Rejection.MALFORMED, f"data of {event_type}: {error}") from error


def sign(value: bytes, keyring: Keyring) -> tuple[str, bytes]:
    """The id of the key that signs, and its signature over exactly these bytes."""
    return keyring.active, _signature(keyring.keys[keyring.active], value)


def require_signature(value: bytes, key_id: str, signature: bytes, keyring: Keyring) -> None:
    """Raise EnvelopeRejected where the bytes are not those that a key of the keyring signed."""
    secret = keyring.keys.get(key_id)
    if secret is None:
        raise EnvelopeRejected(Rejection.UNKNOWN_KEY, "signed with a key that is not in the keyring")
    if not hmac.compare_digest(_signature(secret, value), signature):
        raise EnvelopeRejected(Rejection.BAD_SIGNATURE, "the signature does not match the bytes")


def _check_signature(value: bytes, headers: Mapping[str, bytes | None], keyring: Keyring) -> None:
    key_id, signature = headers.get(KEY_ID_HEADER), headers.get(SIGNATURE_HEADER)
    if key_id is None or signature is None:
        raise EnvelopeRejected(Rejection.UNSIGNED, "no signature or no key id in the headers")
    require_signature(value, key_id.decode("utf-8", "replace"), signature, keyring)


def _signature(secret: bytes, value: bytes) -> bytes:
    return hmac.new(secret, value, hashlib.sha256).hexdigest().encode()
