"""The values of the ledger: what somebody proposes, and the entry that it becomes."""

from datetime import datetime
from uuid import UUID

import msgspec

from scoring.contract.digest import Digest
from scoring.contract.errors import ConfigurationError
from scoring.contract.notice import Kind, ModelName, Notice
from scoring.contract.verdict import Verdict

MAXIMUM_TEXT_CHARACTERS = 4_000


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The event times ``[start, end)`` of the data that a candidate was made from."""

    start: datetime
    end: datetime


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that somebody wants to enter into the ledger.

    Attributes:
        manifest_digest: SHA-256 of the bundle's manifest; it is the candidate's id.
        parent: the sequence that the decision was made on; 0 on an empty ledger. The compare-and-set compares it.
        run_id: of the pipeline run or of the command; a retry with the same run id finds its own entry (protocol A.3).
        effective_from: event time from which the version counts; None is the moment of the decision.
        forced: a person overrides the rules; the ledger remembers it.

    Raises:
        ConfigurationError: a text or a time cannot be stored as it is.
    """

    model: ModelName
    kind: Kind
    version: str
    manifest_digest: Digest
    parent: int
    run_id: str
    actor: str
    reason: str
    interval: Interval
    evidence: tuple[Verdict, ...] = ()
    effective_from: datetime | None = None
    forced: bool = False

    def __post_init__(self) -> None:
        for name in ("version", "run_id", "actor", "reason"):
            _check_text(name, getattr(self, name))
        for name, moment in (
            ("interval.start", self.interval.start),
            ("interval.end", self.interval.end),
            ("effective_from", self.effective_from),
        ):
            if moment is not None and moment.tzinfo is None:
                raise ConfigurationError(f"proposal for {self.model}: {name} {moment.isoformat()} has no time zone")


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger (protocol A, "Ledger entry").

    Attributes:
        parent_sequence: the entry that it was decided on; 0 for the first.
        candidate_id: equals the manifest's digest.
        decided_at: by the database's clock.
    """

    model: str
    sequence: int
    version: str
    manifest_digest: str
    kind: Kind
    parent_sequence: int
    run_id: str
    candidate_id: str
    actor: str
    reason: str
    evidence: tuple[Verdict, ...]
    interval: Interval
    decided_at: datetime
    effective_from: datetime
    forced: bool

    def notice(self, ledger: UUID) -> Notice:
        """The notice that announces this entry of ``ledger``."""
        return Notice(
            ledger=ledger,
            model=self.model,
            sequence=self.sequence,
            kind=self.kind,
            version=self.version,
            manifest_digest=self.manifest_digest,
            decided_at=self.decided_at,
            effective_from=self.effective_from,
        )


def _check_text(name: str, text: str) -> None:
    if not text.strip():
        raise ConfigurationError(f"the {name} of a decision must not be empty")
    if len(text) > MAXIMUM_TEXT_CHARACTERS:
        raise ConfigurationError(f"the {name} of a decision has more than {MAXIMUM_TEXT_CHARACTERS} characters")
    # PostgreSQL refuses NUL in text, and no database stores half of a surrogate pair.
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigurationError(f"the {name} of a decision holds a character that cannot be stored")
