"""The verdict of one gate, as the manifest and the ledger keep it."""

from enum import StrEnum

import msgspec


class Judgement(StrEnum):
    """What a gate says; an error inside a gate is not a pass, and ``off`` is a gate that the definition turned off."""

    PASS = "pass"  # noqa: S105  # a verdict, not a password
    FAIL = "fail"
    ERROR = "error"
    OFF = "off"


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

    @property
    def lets_through(self) -> bool:
        """Whether a candidate may go on: the gate passed, or was turned off by name and with a reason."""
        return self.judgement in {Judgement.PASS, Judgement.OFF}
