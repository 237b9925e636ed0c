"""The verdict of one gate, as the manifest and the ledger keep it."""

from enum import StrEnum

import msgspec


class Judgement(StrEnum):
    """What a gate says; only ``pass`` lets a candidate through, an error inside a gate is not a pass."""

    PASS = "pass"  # noqa: S105  # a verdict, not a password
    FAIL = "fail"
    ERROR = "error"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One gate's judgement, with its number and limit and a sentence for people.

    Attributes:
        value: the measured number, None where there is none.
        limit: what it was held against, None where there is none.
    """

    gate: str
    judgement: Judgement
    sentence: str
    value: float | None = None
    limit: float | None = None
