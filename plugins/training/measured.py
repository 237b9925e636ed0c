"""What is measured about a candidate and its data: small values that are JSON, from which the gates judge."""

from collections.abc import Mapping
from datetime import datetime

import msgspec


class Range(msgspec.Struct, frozen=True):
    """A two-sided confidence interval; None where too few blocks were there to tell."""

    low: float | None
    high: float | None


class Resampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the holdout was resampled.

    Attributes:
        unit: what was drawn as a whole: ``day``, ``hour`` or ``stretch`` (of rows in the order of their time).
        blocks: how many of them the holdout has.
        resamples: how often as many were drawn, with replacement.
        confidence: of the bounds.
    """

    unit: str
    blocks: int
    resamples: int
    confidence: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate and baseline in one metric, on the same rows.

    Attributes:
        gain: by how much the candidate is better, in the metric's units; negative where it is worse.
        low, high: one-sided bounds of the gain, each at the resampling's confidence; None where they cannot be told.
        error: standard error of the gain.
    """

    metric: str
    candidate: float
    baseline: float
    gain: float
    low: float | None
    high: float | None
    error: float


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The holdout rows that share a value.

    Attributes:
        of: the field, looked-up value or feature.
        value: for people.
        blocks: in so many blocks of the resampling it has rows.
        metrics: the candidate's.
        errors: standard errors of the candidate's metrics.
    """

    of: str
    value: str
    rows: int
    blocks: int
    metrics: Mapping[str, float]
    errors: Mapping[str, float]
    comparisons: tuple[Comparison, ...]


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """All slices that the definition names.

    Attributes:
        judged: those with enough rows.
        too_small: how many values have too few rows.
        left_out: how many were left out because their name has too many values.
    """

    judged: tuple[Slice, ...] = ()
    too_small: int = 0
    left_out: int = 0


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Holdout rows of similar scores: their mean score and what came of them on average."""

    rows: int
    predicted: float
    observed: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether scores mean what they say: the reliability curve, for numbers by tenths of the score.

    Attributes:
        error: mean distance of predicted and observed over the bins, weighted by rows: for classes the expected
            calibration error (Naeini, Cooper, Hauskrecht, 2015, with bins of equal counts; of several classes that of
            the most probable one), for numbers in standard deviations of the label.
        bias: mean score minus mean outcome, in the label's units.
        low: one-sided lower bound of the error, at the resampling's confidence; None where it cannot be told.
    """

    bins: tuple[Bin, ...]
    error: float
    bias: float
    low: float | None = None


class DataFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds, and from when; None where there is no such row.

    Attributes:
        usable_rows: rows with a label and every required field.
        end: of the data interval.
        labels_end: labels of events from here on could not be known yet.
        newest_usable_event: of the usable rows.
        weeks: whole weeks from the first event to ``labels_end``.
        median_week_rows, thinnest_week_rows: usable rows in any seven days, the median and the fewest.
    """

    rows: int
    usable_rows: int
    end: datetime
    labels_end: datetime
    first_event: datetime | None = None
    newest_event: datetime | None = None
    newest_usable_event: datetime | None = None
    weeks: int = 0
    median_week_rows: float = 0.0
    thinnest_week_rows: int = 0
    thinnest_week_start: datetime | None = None


class SharedPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """The events that this snapshot and the champion's should both hold.

    Attributes:
        rows_then: in the champion's snapshot; None where the store does not have it any more.
        common_rows: rows that both have, by their key.
        changed: share of the common rows in which a column has another value now than it had then, by column. A value
            that came late is no change, nor is one of a number by less than a twentieth of its standard deviation.
    """

    version: str
    start: datetime
    end: datetime
    rows_then: int | None
    rows_now: int
    common_rows: int = 0
    changed: Mapping[str, float] = {}


class LeakFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What would give the answer away.

    Attributes:
        measure: ``auc`` or ``r2``.
        power: how well each feature by itself predicts the holdout, fitted on the training rows.
        shared_keys: holdout rows whose key is also a training row's.
        newest_training_event: of the rows that the candidate was really fitted on.
        labels_known_before: events from here on had no known label when the holdout began.
    """

    measure: str
    power: Mapping[str, float]
    shared_keys: int
    newest_training_event: datetime
    labels_known_before: datetime
