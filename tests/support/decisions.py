"""Proposals and entries for tests, with a short call for what a test does not care about."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from scoring.contract.digest import digest_of
from scoring.contract.envelope import Keyring
from scoring.contract.notice import Kind
from scoring.contract.verdict import Judgement, Verdict
from scoring.promotion.entry import Interval, LedgerEntry, Proposal

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
LEDGER = UUID(int=7)
PASSED = (Verdict(gate="quality", judgement=Judgement.PASS, sentence="AUC 0.67 reaches 0.60", value=0.67, limit=0.6),)
KEYRING = Keyring(active="k1", keys={"k1": b"s" * 32})


def digest_for(version: str) -> str:
    return digest_of(f"bundle {version}".encode())


def interval(months: int = 1) -> Interval:
    return Interval(start=JANUARY, end=JANUARY + timedelta(days=30 * months))


def proposal(
    version: str = "1",
    *,
    parent: int = 0,
    model: str = "small",
    kind: Kind = Kind.PROMOTE,
    run_id: str | None = None,
    digest: str | None = None,
    months: int = 1,
    evidence: tuple[Verdict, ...] = PASSED,
    effective_from: datetime | None = None,
    forced: bool = False,
    reason: str = "a test",
) -> Proposal:
    return Proposal(
        model=model,
        kind=kind,
        version=version,
        manifest_digest=digest or digest_for(version),
        parent=parent,
        run_id=run_id or f"run-{uuid4()}",
        actor="tester",
        reason=reason,
        interval=interval(months),
        evidence=evidence,
        effective_from=effective_from,
        forced=forced,
    )


def entry(
    sequence: int,
    version: str,
    *,
    kind: Kind = Kind.PROMOTE,
    months: int = 1,
    model: str = "small",
    effective_from: datetime = JANUARY,
) -> LedgerEntry:
    return LedgerEntry(
        model=model,
        sequence=sequence,
        version=version,
        manifest_digest=digest_for(version),
        kind=kind,
        parent_sequence=sequence - 1,
        run_id=f"run-{sequence}",
        candidate_id=digest_for(version),
        actor="tester",
        reason="a test",
        evidence=PASSED,
        interval=interval(months),
        decided_at=JANUARY + timedelta(minutes=sequence),
        effective_from=effective_from,
        forced=False,
    )


def history(*steps: str) -> list[LedgerEntry]:
    """Entries from words: ``history("promote 1", "promote 2", "rollback 1")``; a promotion's months are its version."""
    entries = []
    for sequence, step in enumerate(steps, start=1):
        kind, version = step.split()
        entries.append(entry(sequence, version, kind=Kind(kind), months=int(version)))
    return entries
