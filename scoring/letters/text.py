"""Bytes as JSON can hold them."""

import base64

import msgspec


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
