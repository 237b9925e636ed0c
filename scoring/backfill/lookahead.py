"""Look-ahead: whether a version knows something of what it is to score, or of what came after. Pure functions.

A model may know all that happened before the end of its snapshot, holdout included (its gates chose it by that), and
the labels that became known until ``known_by``. So it is honest about events from ``Snapshot.seen_until`` on, which is
included, and about none before it: not about its own data, and not about what lay before them either.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from scoring.backfill.reigns import Reign
from scoring.contract.clock import rfc3339
from scoring.contract.manifest import Snapshot


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Events in ``[start, end)`` that one version scores.

    Attributes:
        lookahead: the version may know something of them.
    """

    start: datetime
    end: datetime
    version: str
    sequence: int | None
    manifest_digest: str
    lookahead: bool


def spans(found: Iterable[Reign], snapshots: Mapping[str, Snapshot], digests: Mapping[str, str]) -> Iterator[Span]:
    """The reigns, each parted where its version stops knowing what it is to score.

    Args:
        snapshots, digests: what each version was trained on, and its manifest's digest, by version.
    """
    for reign in found:
        border = min(max(reign.start, snapshots[reign.version].seen_until), reign.end)
        for start, end, lookahead in ((reign.start, border, True), (border, reign.end, False)):
            if start < end:
                yield Span(
                    start=start,
                    end=end,
                    version=reign.version,
                    sequence=reign.sequence,
                    manifest_digest=digests[reign.version],
                    lookahead=lookahead,
                )


def reasons(found: Iterable[Span], snapshots: Mapping[str, Snapshot]) -> list[str]:
    """Why the spans that look ahead must not be scored, a sentence each."""
    return [_sentence(span, snapshots[span.version]) for span in found if span.lookahead]


def _sentence(span: Span, snapshot: Snapshot) -> str:
    saw = (
        "saw what it would score" if snapshot.start < span.end else "was trained on what came after what it would score"
    )
    known = snapshot.seen_until
    labels = "" if known == snapshot.end else f", with labels known by {rfc3339(known)}"
    return (
        f"version {span.version} {saw}, {rfc3339(span.start)} to {rfc3339(span.end)}: its data are of "
        f"{rfc3339(snapshot.start)} to {rfc3339(snapshot.end)}{labels}; begin at {rfc3339(known)}, take an earlier "
        "version, or mark these rows with --allow-lookahead"
    )
