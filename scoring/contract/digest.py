"""SHA-256 digests as they are written in manifests, notices and the ledger: 64 lower-case hexadecimal digits."""

import hashlib
from typing import Annotated

import msgspec

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


def digest_of(content: bytes) -> str:
    """The SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()
