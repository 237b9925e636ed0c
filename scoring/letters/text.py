"""Bytes as JSON can hold them."""

import base64

import msgspec

# Both sets of controls but those that JSON escapes anyway, separators of lines, and what turns the direction of text.
COMMANDING = (
    *range(0x7F, 0xA0),
    0x61C,
    0x200E,
    0x200F,
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
)
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in COMMANDING}
_ESCAPES = {code: f"\\x{code:02x}" for code in range(0x20)} | {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in COMMANDING
}


def harmless(text: str) -> str:
    """Somebody else's text in one line, with the characters that a terminal may obey written as escapes."""
    return text.translate(_ESCAPES)


def harmless_json(document: str) -> str:
    """JSON with the characters that a terminal may obey written as escapes; it reads back as the same document."""
    return document.translate(_JSON_ESCAPES)


class Text(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes: as text where they are UTF-8, otherwise as base64. One of the two is there."""

    text: str | None = None
    base64: str | None = None

    def __str__(self) -> str:
        return self.text if self.text is not None else f"base64:{self.base64}"

    def content(self) -> bytes:
        """The bytes."""
        return self.text.encode() if self.text is not None else base64.b64decode(self.base64 or "")


def as_text(content: bytes | None) -> Text | None:
    """The bytes for people and JSON; None stays None, which is not the same as empty."""
    if content is None:
        return None
    try:
        return Text(text=content.decode())
    except UnicodeDecodeError:
        return Text(base64=base64.b64encode(content).decode())
