"""Which version counts when: the ledger's entries over a period of event time. Pure functions."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from scoring.contract.clock import rfc3339
from scoring.contract.notice import Kind
from scoring.promotion.entry import LedgerEntry


class Reign(msgspec.Struct, frozen=True, kw_only=True):
    """A version that counts for the events in ``[start, end)``.

    Attributes:
        sequence: the entry of the ledger that says so; None of a version that is named and has no entry.
        manifest_digest: None where nobody says what it must be.
    """

    start: datetime
    end: datetime
    version: str
    sequence: int | None
    manifest_digest: str | None


def reigns(entries: Sequence[LedgerEntry], start: datetime, end: datetime) -> tuple[list[Reign], list[str]]:
    """The champions of ``[start, end)`` one after the other, and why some of it cannot be scored.

    What counts at a moment is the highest sequence that is effective by then, as ``Ledger.as_of`` says; so a rollback
    counts from its own ``effective_from`` on, and an entry that takes effect earlier than one before it hides that.

    Args:
        entries: all of the model's, in the order of their sequence.
    """
    borders = sorted({start, *(entry.effective_from for entry in entries if start < entry.effective_from < end)})
    found: list[Reign] = []
    reasons: list[str] = []
    for begin, until in zip(borders, [*borders[1:], end], strict=True):
        entry = counting_at(entries, begin)
        if entry is None:
            reasons.append(_before_the_first(entries, begin, until))
        elif entry.kind is Kind.RETIRE:
            reasons.append(_retired(entry, begin, until))
        else:
            _extend(found, entry, begin, until)
    return found, reasons


def counting_at(entries: Sequence[LedgerEntry], moment: datetime) -> LedgerEntry | None:
    """What counts for events at ``moment``: the highest sequence that is effective by then, or None."""
    return next((entry for entry in reversed(entries) if entry.effective_from <= moment), None)


def named(entries: Sequence[LedgerEntry], version: str, digest: str | None, start: datetime, end: datetime) -> Reign:
    """A version that is to score all of ``[start, end)``, whoever was champion.

    Args:
        digest: of its manifest as the registry has it; the ledger's word counts more.
    """
    own = [entry for entry in entries if entry.version == version and entry.kind is not Kind.RETIRE]
    sequence, told = (own[-1].sequence, own[-1].manifest_digest) if own else (None, digest)
    return Reign(start=start, end=end, version=version, sequence=sequence, manifest_digest=told)


def _extend(found: list[Reign], entry: LedgerEntry, begin: datetime, until: datetime) -> None:
    """An entry that never comes to count is no border."""
    last = found[-1] if found else None
    if last is not None and last.end == begin and last.sequence == entry.sequence:
        found[-1] = msgspec.structs.replace(last, end=until)
        return
    found.append(
        Reign(
            start=begin,
            end=until,
            version=entry.version,
            sequence=entry.sequence,
            manifest_digest=entry.manifest_digest,
        )
    )


def _before_the_first(entries: Sequence[LedgerEntry], begin: datetime, until: datetime) -> str:
    what = f"no version counts from {rfc3339(begin)} to {rfc3339(until)}"
    if not entries:
        return f"{what}: the ledger has no entry of this model; promote a version, or name one with --version"
    first = min(entry.effective_from for entry in entries)
    return f"{what}: the first one counts from {rfc3339(first)} on; begin there, or name one with --version"


def _retired(entry: LedgerEntry, begin: datetime, until: datetime) -> str:
    return (
        f"the model was retired from {rfc3339(begin)} to {rfc3339(until)} (sequence {entry.sequence}): nothing scored "
        "then; leave that time out, or name a version with --version"
    )
