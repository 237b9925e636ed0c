"""Bytes as text that a database keeps and a person can type.

The key of a record is text in nearly every topic, and is kept as it is. What PostgreSQL's text cannot hold is kept in
base64, and what no index can hold by its digest, so that two keys never become one.
"""

import base64

from scoring.contract.digest import digest_of

BASE64 = "base64:"
DIGEST = "sha256:"
# An entry of a PostgreSQL index ends at 2,704 bytes.
MAXIMUM_KEY_BYTES = 1_000


def bytes_text(content: bytes) -> str:
    """UTF-8 without a NUL as it is; anything else, and what begins as the other forms do, as ``base64:…``."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return BASE64 + base64.b64encode(content).decode()
    if "\0" in text or text.startswith((BASE64, DIGEST)):
        return BASE64 + base64.b64encode(content).decode()
    return text


def text_bytes(text: str) -> bytes:
    """What ``bytes_text`` was given."""
    return base64.b64decode(text.removeprefix(BASE64)) if text.startswith(BASE64) else text.encode()


def key_text(key: bytes) -> str:
    """A record's key as the tables hold it: as ``bytes_text``, or ``sha256:…`` where that is over 1,000 bytes."""
    text = bytes_text(key)
    return text if len(text.encode()) <= MAXIMUM_KEY_BYTES else DIGEST + digest_of(key)


def whole_key(key: bytes, text: str) -> bytes | None:
    """The key itself where its text is only a digest; None where the text says it all."""
    return key if text.startswith(DIGEST) else None


def key_bytes(text: str, whole: bytes | None) -> bytes:
    """The key that ``key_text`` was given; ``whole`` is what ``whole_key`` made of it."""
    return text_bytes(text) if whole is None else whole


def asked_key(text: str) -> str:
    """The key that somebody asks for, as the tables hold it: in their form already, or as the key itself reads."""
    if text.startswith((BASE64, DIGEST)):
        return text
    return key_text(text.encode("utf-8", "surrogatepass"))
