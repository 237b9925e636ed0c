"""The result of a demonstration: ``summary.json``, whose fields are fixed, and the facts that only people are told."""

from collections.abc import Mapping
from datetime import date, datetime

import msgspec


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """``records`` are predictions."""

    version: str
    sequence: int
    records: int


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """The swap in mid-stream.

    Attributes:
        pause_ms: the longest gap between two consecutive outputs around the swap, by the outputs' own timestamps.
        notice_to_live_ms: from the notice to the acknowledgement, by these records' own timestamps.
    """

    sequence: int
    pause_ms: int
    notice_to_live_ms: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A gate that did not let a candidate through."""

    gate: str
    reason: str


class VersionQuality(msgspec.Struct, frozen=True, kw_only=True):
    """What a version's predictions were worth: ``base_rate`` is the share of late flights among them."""

    records: int
    auc: float | None
    base_rate: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``summary.json``.

    Attributes:
        lost: input records without an outcome. ``duplicated``: with more than one.
        quality: by version.
        records_per_s: outputs per second while records were replayed; the replay's pace, not the daemon's limit.
    """

    records_in: int
    predictions: int
    dead_letters: int
    lost: int
    duplicated: int
    versions: tuple[Version, ...]
    swap: Swap
    refused: tuple[Refusal, ...]
    quality: Mapping[str, VersionQuality]
    records_per_s: float

    def encode(self) -> bytes:
        """The bytes of ``summary.json``."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """When things happened, in milliseconds since 1970."""

    first_ms: int
    retrain_ms: int
    damaged_ms: int
    malformed_ms: int
    notice_ms: int
    swap_ms: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The new version against the old one on exactly the records that the new one scored."""

    records: int
    new_auc: float | None
    old_auc: float | None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the report shows beside the summary.

    Attributes:
        handover_gap_ms: between the old version's last output and the new one's first.
        typical_pause_ms: the median of the longest gaps in windows as wide as the swap's, before it.
        per_second: outputs by (second since 1970, sequence), dead letters as sequence 0.
        daily: area under the curve by local day, for what really scored.
        daily_first: the same, had the first version scored everything.
        swapped_on: local day of the events at which the new version took over.
        dead_letters: name of the damage and the daemon's reason.
        recomputed: predictions that were computed again from the record and the bundle, all equal bit for bit.
        phases: seconds by step.
    """

    model: str
    made_at: datetime
    moments: Moments
    around_ms: int
    handover_gap_ms: int
    typical_pause_ms: float | None
    per_second: Mapping[tuple[int, int], int]
    daily: Mapping[date, float]
    daily_first: Mapping[date, float]
    swapped_on: date
    comparison: Comparison
    dead_letters: tuple[tuple[str, str], ...]
    recomputed: int
    phases: tuple[tuple[str, float], ...]
