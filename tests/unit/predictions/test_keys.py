"""Keys as text: two keys never become one, and each comes back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoring.predictions.keys import (
    MAXIMUM_KEY_BYTES,
    asked_key,
    bytes_text,
    key_bytes,
    key_text,
    text_bytes,
    whole_key,
)

KEYS = st.one_of(st.binary(), st.text().map(str.encode), st.binary(min_size=900, max_size=1_100))


@given(KEYS)
@example(b"base64:YQ==")
@example(b"sha256:" + b"0" * 64)
@example(b"a\0b")
@example(b"\xff" * 800)
def test_a_key_comes_back_whatever_its_bytes_are(key: bytes) -> None:
    text = key_text(key)
    assert key_bytes(text, whole_key(key, text)) == key
    assert text_bytes(bytes_text(key)) == key


@given(KEYS)
def test_its_text_fits_into_an_index_of_postgresql(key: bytes) -> None:
    text = key_text(key)
    assert len(text.encode()) <= MAXIMUM_KEY_BYTES
    assert "\0" not in text


@given(KEYS, KEYS)
def test_two_keys_never_become_one(one: bytes, other: bytes) -> None:
    assert (key_text(one) == key_text(other)) == (one == other)


def test_ordinary_text_is_kept_as_it_is_and_stays_readable() -> None:
    assert key_text(b"2026-05-01 UA 1545") == "2026-05-01 UA 1545"
    assert key_text("Größe".encode()) == "Größe"
    assert key_text(b"") == ""


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("a", "a"),
        ("base64:/w==", "base64:/w=="),
        ("sha256:" + "0" * 64, "sha256:" + "0" * 64),
        ("x" * 2_000, key_text(b"x" * 2_000)),
        ("a\0b", key_text(b"a\0b")),
        ("\udcff", key_text(b"\xed\xb3\xbf")),
    ],
)
def test_a_key_is_asked_for_as_it_reads_or_in_the_tables_form(asked: str, found: str) -> None:
    assert asked_key(asked) == found
