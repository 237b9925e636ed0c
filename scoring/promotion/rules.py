"""The ledger's rules: pure functions from its entries and a proposal to a refusal, or to none.

The error tree, all of them DecisionRefused: LostRace, RolledBack, OlderData, NotProven, Unfounded.
"""

from collections.abc import Iterable, Sequence

from scoring.contract.clock import rfc3339
from scoring.contract.errors import DecisionRefused
from scoring.contract.notice import Kind
from scoring.contract.verdict import Judgement
from scoring.promotion.entry import LedgerEntry, Proposal


class LostRace(DecisionRefused):
    """Somebody else decided first (protocol A.2): evaluate against the new champion, or give up and say so.

    Attributes:
        head: the entry that stands where this one was to stand, or on top of it.
    """

    def __init__(self, proposal: Proposal, head: LedgerEntry | None) -> None:
        found = f"sequence {head.sequence} (version {head.version}, by {head.actor})" if head else "no entry"
        super().__init__(
            f"{proposal.model}: version {proposal.version} was decided on sequence {proposal.parent}, but the ledger "
            f"now has {found}; evaluate the candidate against the present champion and propose again"
        )
        self.head = head


class RolledBack(DecisionRefused):
    """The version was rolled back; only force promotes it again (protocol A.3)."""


class OlderData(DecisionRefused):
    """The candidate's data ends before that of the newest promoted entry that stands (protocol A.4)."""


class NotProven(DecisionRefused):
    """The evidence does not show that every gate passed; gates fail closed."""


class Unfounded(DecisionRefused):
    """There is nothing to decide: the version is champion already, was never one, or the model serves nothing."""


def check(entries: Sequence[LedgerEntry], proposal: Proposal) -> None:
    """Hold ``proposal`` against the model's ``entries``, which are in the order of their sequence.

    Raises:
        LostRace: the head is not the proposal's parent; force does not help.
        DecisionRefused: one of the rules forbids it.
    """
    head = entries[-1] if entries else None
    if (head.sequence if head else 0) != proposal.parent:
        raise LostRace(proposal, head)
    if proposal.kind is not Kind.PROMOTE:
        check_earlier_decision(entries, proposal)
        return
    if proposal.forced:
        return
    check_not_champion(entries, proposal)
    check_evidence(proposal)
    check_not_rolled_back(entries, proposal)
    check_not_older(entries, proposal)


def check_not_champion(entries: Sequence[LedgerEntry], proposal: Proposal) -> None:
    """The champion need not be decided upon again.

    Raises:
        Unfounded: names the entry that made it champion.
    """
    head = entries[-1] if entries else None
    if head and head.kind is not Kind.RETIRE and head.manifest_digest == proposal.manifest_digest:
        raise Unfounded(f"{_candidate(proposal)} is the champion already, since sequence {head.sequence}")


def check_evidence(proposal: Proposal) -> None:
    """Every gate that is not turned off must have passed, and there must be one.

    Raises:
        NotProven: names the gates that did not pass.
    """
    if not any(verdict.judgement is not Judgement.OFF for verdict in proposal.evidence):
        raise NotProven(f"{_candidate(proposal)} carries no verdict of any gate; run the gates, or force it")
    failed = [verdict for verdict in proposal.evidence if not verdict.lets_through]
    if failed:
        sentences = "; ".join(f"{verdict.gate}: {verdict.sentence}" for verdict in failed)
        raise NotProven(f"{_candidate(proposal)} did not pass its gates ({sentences})")


def check_not_rolled_back(entries: Iterable[LedgerEntry], proposal: Proposal) -> None:
    """A version that was rolled back is promoted again only by force (protocol A.3).

    Raises:
        RolledBack: names the entry that rolled it back.
    """
    by = rolled_back(entries).get(proposal.manifest_digest)
    if by is not None:
        raise RolledBack(
            f"{_candidate(proposal)} was rolled back at sequence {by.sequence} by {by.actor} ({by.reason}); "
            "train a new candidate, or force it"
        )


def check_not_older(entries: Iterable[LedgerEntry], proposal: Proposal) -> None:
    """A run on older data never overtakes a newer one (protocol A.4).

    Raises:
        OlderData: names both intervals' ends.
    """
    newest = standing(entries)
    if newest is not None and proposal.interval.end < newest.interval.end:
        raise OlderData(
            f"{_candidate(proposal)} was made from data up to {rfc3339(proposal.interval.end)}, but version "
            f"{newest.version} (sequence {newest.sequence}) from data up to {rfc3339(newest.interval.end)}; "
            "go back with a rollback, or force it"
        )


def check_earlier_decision(entries: Sequence[LedgerEntry], proposal: Proposal) -> None:
    """A rollback goes to a version that was decided before, a retirement ends one that serves.

    Raises:
        Unfounded: there is no such version.
    """
    if not entries:
        raise Unfounded(f"{proposal.model} has no entry in the ledger; there is nothing to {proposal.kind.value}")
    head = entries[-1]
    if proposal.kind is Kind.RETIRE:
        if head.kind is Kind.RETIRE:
            raise Unfounded(f"{proposal.model} is retired already, since sequence {head.sequence}")
        return
    if proposal.manifest_digest not in {entry.manifest_digest for entry in entries}:
        raise Unfounded(f"{_candidate(proposal)} was never promoted; a rollback goes to an earlier champion")
    check_not_champion(entries, proposal)


def rolled_back(entries: Iterable[LedgerEntry]) -> dict[str, LedgerEntry]:
    """The candidates that are rolled back now, by manifest digest, each with the entry that did it.

    A rollback takes back the champion and, when it goes further, every promotion above the one it goes to. A later
    entry that brings a candidate back (a forced promotion, another rollback) makes it stand again.
    """
    return _replay(entries)[1]


def standing(entries: Iterable[LedgerEntry]) -> LedgerEntry | None:
    """The newest promoted entry that is not rolled back, or None."""
    stack = _replay(entries)[0]
    return stack[-1] if stack else None


def previous_champion(entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """The entry whose version a rollback without a target goes to: the promotion below the one that stands."""
    if entries and entries[-1].kind is Kind.RETIRE:
        return standing(entries)
    stack = _replay(entries)[0]
    return stack[-2] if len(stack) > 1 else None


def _replay(entries: Iterable[LedgerEntry]) -> tuple[list[LedgerEntry], dict[str, LedgerEntry]]:
    """The promotions that stand, oldest first and each candidate once, and the candidates that do not."""
    stack: list[LedgerEntry] = []
    taken_back: dict[str, LedgerEntry] = {}
    for entry in entries:
        if entry.kind is Kind.PROMOTE:
            stack = [other for other in stack if other.manifest_digest != entry.manifest_digest]
        elif entry.kind is Kind.ROLLBACK:
            stack, popped = _popped(stack, entry)
            taken_back.update(dict.fromkeys(popped, entry))
        else:
            continue
        taken_back.pop(entry.manifest_digest, None)
        if not stack or stack[-1].manifest_digest != entry.manifest_digest:
            stack.append(entry)
    return stack, taken_back


def _popped(stack: list[LedgerEntry], rollback: LedgerEntry) -> tuple[list[LedgerEntry], list[str]]:
    """What a rollback leaves standing, and the digests that it takes back."""
    digests = [entry.manifest_digest for entry in stack]
    keep = digests.index(rollback.manifest_digest) + 1 if rollback.manifest_digest in digests else len(stack) - 1
    return stack[:keep], digests[keep:]


def _candidate(proposal: Proposal) -> str:
    return f"{proposal.model}: version {proposal.version}"
