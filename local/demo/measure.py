"""What the records of the topics tell: rates, versions, the pause at the swap. Pure; nothing here does I/O."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from local.demo.oracle import Outcome

AROUND_MS = 5_000
"""The swap's pause is sought from so long before the new version's first output to so long after it."""


@dataclass(frozen=True, slots=True)
class VersionCount:
    """How many predictions a version made."""

    version: str
    sequence: int
    records: int


@dataclass(frozen=True, slots=True)
class Pause:
    """The swap, as the outputs' own timestamps (milliseconds since 1970) show it.

    Attributes:
        at_ms: the new sequence's first output.
        handover_gap_ms: from the last output of an earlier sequence to that one.
        longest_gap_ms: between two consecutive outputs, at most ``AROUND_MS`` away from ``at_ms``.
        typical_gap_ms: the median of the longest gaps in windows of the same width before; None without such a window.
    """

    sequence: int
    at_ms: int
    handover_gap_ms: int
    longest_gap_ms: int
    typical_gap_ms: float | None


def versions(outcomes: Iterable[Outcome]) -> tuple[VersionCount, ...]:
    """Predictions by version, in the order of their sequence."""
    counts = Counter((o.sequence, o.version) for o in outcomes if not o.dead_letter)
    return tuple(VersionCount(version, sequence, count) for (sequence, version), count in sorted(counts.items()))


def pause_at_swap(outcomes: Sequence[Outcome], sequence: int, *, since_ms: int) -> Pause:
    """The pause in the outputs when ``sequence`` took over.

    Args:
        since_ms: when the stream that was running at the swap began; windows before that are not compared.

    Raises:
        ValueError: the sequence made no output, or there is none around its first one.
    """
    at_ms = min((o.record.timestamp_ms for o in outcomes if o.sequence == sequence), default=None)
    if at_ms is None:
        raise ValueError(f"sequence {sequence} made no output")
    times_ms = sorted(o.record.timestamp_ms for o in outcomes)
    longest = _longest_gap_ms(times_ms, at_ms - AROUND_MS, at_ms + AROUND_MS)
    if longest is None:
        raise ValueError(f"there are no two outputs around the first one of sequence {sequence}")
    ends = range(at_ms - AROUND_MS, since_ms + 2 * AROUND_MS, -2 * AROUND_MS)
    before = [gap for end in ends if (gap := _longest_gap_ms(times_ms, end - 2 * AROUND_MS, end)) is not None]
    handover_ms = at_ms - max((o.record.timestamp_ms for o in outcomes if o.sequence < sequence), default=at_ms)
    return Pause(sequence, at_ms, max(handover_ms, 0), longest, median(before) if before else None)


def _longest_gap_ms(times_ms: Sequence[int], start_ms: int, end_ms: int) -> int | None:
    """The longest gap between consecutive outputs of which at least one lies in the window."""
    return max((b - a for a, b in pairwise(times_ms) if b >= start_ms and a <= end_ms), default=None)


def per_second(outcomes: Iterable[Outcome]) -> dict[tuple[int, int], int]:
    """Outputs by (second since 1970, sequence); dead letters count as sequence 0."""
    return Counter((o.record.timestamp_ms // 1000, 0 if o.dead_letter else o.sequence) for o in outcomes)


def records_per_s(outcomes: Iterable[Outcome]) -> float:
    """Outputs divided by the seconds in which there were any: the pace of the replays, not the daemon's limit."""
    seconds = Counter(o.record.timestamp_ms // 1000 for o in outcomes)
    return seconds.total() / len(seconds) if seconds else 0.0
