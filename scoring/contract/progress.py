"""What travels with a committed offset: the ledger and the sequence that scored up to it (protocol A.12)."""

from typing import Self
from uuid import UUID

import msgspec

_FORM = "baton1"


class Progress(msgspec.Struct, frozen=True):
    """The metadata string of a committed offset.

    Attributes:
        ledger: the ledger that the sequence belongs to; None where nothing was scored yet.
        sequence: the sequence that scored the record before the offset; 0 where nothing was scored yet.
    """

    ledger: UUID | None = None
    sequence: int = 0

    def encode(self) -> str:
        """The string that is committed with the offset."""
        return f"{_FORM} {self.ledger} {self.sequence}" if self.ledger else ""

    @classmethod
    def decode(cls, metadata: str | None) -> Self:
        """Read a metadata string; empty or somebody else's metadata is sequence 0 of no ledger."""
        parts = (metadata or "").split(" ")
        if len(parts) != 3 or parts[0] != _FORM:
            return cls()
        try:
            return cls(UUID(parts[1]), int(parts[2]))
        except ValueError:
            return cls()
