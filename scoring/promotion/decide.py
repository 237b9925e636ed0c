"""Decisions: promote, roll back, retire. Each checks what must be true first, then makes one insert into the ledger.

The copies (alias, notice) follow by ``scoring.promotion.repair``; a decision is complete without them.
"""

import tempfile
from datetime import datetime
from pathlib import Path

from scoring.contract.errors import DecisionRefused
from scoring.contract.manifest import Manifest
from scoring.contract.notice import Kind
from scoring.promotion.entry import Interval, LedgerEntry, Proposal
from scoring.promotion.ledger import Ledger
from scoring.promotion.rules import LostRace, Unfounded, previous_champion
from scoring.registry.port import Registry
from scoring.scorer.bundle import open_bundle


def promote(ledger: Ledger, registry: Registry, proposal: Proposal) -> LedgerEntry:
    """Make the proposed version the champion.

    The bundle is read back from the registry and its digests are checked before the insert, so that the ledger never
    names a bundle that cannot be fetched (protocol A.1). A retry returns the entry that it made before (protocol A.3).

    Raises:
        LostRace: somebody else decided on the same parent.
        DecisionRefused: a rule forbids it.
        BundleRejected: what the registry gives back is not the candidate.
        Unavailable, ConfigurationError: registry or ledger cannot be read; nothing was decided.
    """
    known = ledger.made_by(proposal.model, proposal.run_id, proposal.manifest_digest)
    if known is None:
        read_back(registry, proposal.model, proposal.version, proposal.manifest_digest)
    return ledger.decide(proposal)


def proposal_of(
    manifest: Manifest,
    digest: str,
    *,
    version: str,
    parent: int,
    run_id: str,
    actor: str,
    reason: str,
    effective_from: datetime | None = None,
    forced: bool = False,
) -> Proposal:
    """The proposal to promote the bundle of ``manifest``, with its verdicts as evidence."""
    return Proposal(
        model=manifest.model,
        kind=Kind.PROMOTE,
        version=version,
        manifest_digest=digest,
        parent=parent,
        run_id=run_id,
        actor=actor,
        reason=reason,
        interval=Interval(start=manifest.snapshot.start, end=manifest.snapshot.end),
        evidence=manifest.verdicts,
        effective_from=effective_from,
        forced=forced,
    )


def rollback(
    ledger: Ledger,
    registry: Registry,
    model: str,
    *,
    actor: str,
    reason: str,
    run_id: str,
    to_version: str | None = None,
    while_head: int | None = None,
) -> LedgerEntry:
    """Go back to an earlier champion, by an entry like any other.

    Args:
        to_version: any version that was champion before; None is the one below the present champion.
        while_head: only while this sequence is still the head; an automatic rollback names the one that it saw fail.

    Raises:
        LostRace: somebody else decided meanwhile.
        DecisionRefused: there is no such earlier champion.
        BundleRejected: the registry no longer gives back that version's bundle.
        Unavailable, ConfigurationError: registry or ledger cannot be read; nothing was decided.
    """
    entries = ledger.entries(model)
    if not entries:
        raise Unfounded(f"{model} has no entry in the ledger; there is nothing to roll back")
    for entry in entries:
        # A retry without a target would otherwise go one further back each time (protocol A.3).
        if entry.run_id == run_id and entry.kind is Kind.ROLLBACK and to_version in {None, entry.version}:
            return entry
    target = _target(entries, model, to_version)
    parent = entries[-1].sequence if while_head is None else while_head
    proposal = _again(target, Kind.ROLLBACK, parent, actor=actor, reason=reason, run_id=run_id)
    if parent != entries[-1].sequence:
        raise LostRace(proposal, entries[-1])
    read_back(registry, model, target.version, target.manifest_digest)
    return ledger.decide(proposal)


def retire(
    ledger: Ledger, model: str, *, actor: str, reason: str, run_id: str, while_head: int | None = None
) -> LedgerEntry:
    """Take the model out of service: workers stop taking its records. Nothing is read back, for nothing is fetched.

    Args:
        while_head: only while this sequence is still the head.

    Raises:
        LostRace: somebody else decided meanwhile.
        DecisionRefused: the model is not in service.
        Unavailable, ConfigurationError: the ledger cannot be read; nothing was decided.
    """
    entries = ledger.entries(model)
    if not entries:
        raise Unfounded(f"{model} has no entry in the ledger; there is nothing to retire")
    for entry in entries:
        # A retry would otherwise retire whatever came into service since (protocol A.3).
        if entry.run_id == run_id and entry.kind is Kind.RETIRE:
            return entry
    parent = entries[-1].sequence if while_head is None else while_head
    return ledger.decide(_again(entries[-1], Kind.RETIRE, parent, actor=actor, reason=reason, run_id=run_id))


def read_back(registry: Registry, model: str, version: str, expected_digest: str | None) -> tuple[Manifest, str]:
    """Fetch a version into a folder that goes away again, and check every digest (protocol A.1).

    Returns:
        the manifest and its SHA-256.

    Raises:
        BundleRejected: it is damaged, or not the one expected.
    """
    with tempfile.TemporaryDirectory(prefix="baton-read-back-") as scratch:
        folder = Path(scratch) / "bundle"
        registry.fetch(model, version, folder)
        bundle = open_bundle(folder, expected_digest)
    if bundle.manifest.model != model:
        raise DecisionRefused(f"version {version} of {model} holds a bundle of {bundle.manifest.model}")
    return bundle.manifest, bundle.digest


def _target(entries: list[LedgerEntry], model: str, to_version: str | None) -> LedgerEntry:
    if to_version is None:
        found = previous_champion(entries)
        if found is None:
            raise Unfounded(f"{model} has no champion before the present one; name a version, or retire the model")
        return found
    for entry in reversed(entries):
        if entry.version == to_version:
            return entry
    earlier = ", ".join(dict.fromkeys(entry.version for entry in entries))
    raise Unfounded(f"{model}: version {to_version} was never promoted; the ledger knows {earlier}")


def _again(target: LedgerEntry, kind: Kind, parent: int, *, actor: str, reason: str, run_id: str) -> Proposal:
    """A proposal about a version that the ledger knows, with the evidence on which it was promoted."""
    return Proposal(
        model=target.model,
        kind=kind,
        version=target.version,
        manifest_digest=target.manifest_digest,
        parent=parent,
        run_id=run_id,
        actor=actor,
        reason=reason,
        interval=target.interval,
        evidence=target.evidence,
    )
