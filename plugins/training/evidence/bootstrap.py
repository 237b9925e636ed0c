"""Confidence by resampling whole blocks of time: rows of one day share its weather, its strikes, its fashions.

The paired bootstrap draws the same blocks for candidate and baseline, so that what makes a day hard for both cancels.
Percentiles of a bootstrap over few blocks are too narrow: they are widened as Hesterberg does (What Teachers Should
Know About the Bootstrap, The American Statistician 69, 2015, "expanded percentile interval").
"""

import math

import msgspec
import numpy as np
from scipy import special

from scoring.contract.digest import Digest
from scoring.contract.encoder import Floats
from training.evidence.sums import Indexes, Sums, metric_values
from training.limits import METRICS
from training.measured import Comparison, Range

RESAMPLES = 4_000
FEWEST_BLOCKS = 10
STRETCHES = 50
# A metric that has no value in more than this share of the resamples has no interval.
UNMEASURED = 0.05

_UNITS_S = {"day": 86_400.0, "hour": 3_600.0}


class Blocks(msgspec.Struct, frozen=True):
    """The blocks of the holdout.

    Attributes:
        unit: as ``training.measured.Resampling`` has it.
        of_row: the block of each row.
    """

    unit: str
    of_row: Indexes
    count: int


def blocks_of(event_times: Floats) -> Blocks:
    """Days in UTC; hours where there are too few days, and stretches of rows where there are too few hours.

    Args:
        event_times: of shape (rows,), in seconds since 1970.
    """
    for unit, length_s in _UNITS_S.items():
        _, of_row = np.unique(np.floor(event_times / length_s), return_inverse=True)
        count = int(of_row.max(initial=-1)) + 1
        if count >= FEWEST_BLOCKS:
            return Blocks(unit, of_row, count)
    rows = len(event_times)
    count = min(rows, STRETCHES)
    of_row = np.empty(rows, dtype=np.intp)
    of_row[np.argsort(event_times, kind="stable")] = np.arange(rows) * count // max(rows, 1)
    return Blocks("stretch", of_row, count)


def draw(blocks: int, seed: Digest, resamples: int = RESAMPLES) -> Floats:
    """How often each block is drawn, of shape (resamples, blocks); the same for the same snapshot."""
    if blocks == 0:
        return np.empty((resamples, 0))
    random = np.random.default_rng(int(seed[:32], 16))
    return random.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=resamples).astype(np.float64)


def bound(values: Floats, confidence: float, blocks: int, *, upper: bool = False) -> float | None:
    """The one-sided bound below (or above) which the true value lies with the probability 1 - ``confidence``.

    Args:
        values: of the resamples.

    Returns:
        None where there are too few blocks or values.
    """
    found = values[np.isfinite(values)]
    if blocks < 2 or len(found) < (1.0 - UNMEASURED) * len(values):
        return None
    widened = math.sqrt(blocks / (blocks - 1)) * special.stdtrit(blocks - 1, confidence)
    tail = float(special.ndtr(-widened))
    return float(np.quantile(found, 1.0 - tail if upper else tail))


def standard_error(values: Floats, blocks: int) -> float:
    """Of the resamples' values, corrected for the number of blocks; NaN where it cannot be told."""
    found = values[np.isfinite(values)]
    if blocks < 2 or len(found) < (1.0 - UNMEASURED) * len(values) or len(found) < 2:
        return math.nan
    return float(np.std(found, ddof=1)) * math.sqrt(blocks / (blocks - 1))


def intervals(sums: Sums, weights: Floats, confidence: float) -> dict[str, Range]:
    """A two-sided interval for each metric, at ``confidence``."""
    each, blocks = (1.0 + confidence) / 2.0, weights.shape[1]
    values = metric_values(sums, weights)
    return {
        name: Range(bound(found, each, blocks), bound(found, each, blocks, upper=True))
        for name, found in values.items()
    }


def gains(candidate: Sums, baseline: Sums, weights: Floats) -> dict[str, Floats]:
    """By how much the candidate is better in each metric and resample, each of shape (resamples,)."""
    ours, theirs = metric_values(candidate, weights), metric_values(baseline, weights)
    return {name: (ours[name] - theirs[name]) * (1.0 if METRICS[name].more_is_better else -1.0) for name in ours}


def compare(
    candidate: Sums, baseline: Sums, weights: Floats, confidence: float, *, blocks: int | None = None
) -> tuple[Comparison, ...]:
    """Candidate and baseline in each metric that has a value on these rows.

    Args:
        blocks: in how many blocks there are rows; by default in all.
    """
    count = weights.shape[1] if blocks is None else blocks
    whole = np.ones((1, weights.shape[1]))
    ours, theirs = metric_values(candidate, whole), metric_values(baseline, whole)
    found = gains(candidate, baseline, weights)
    at_once = gains(candidate, baseline, whole)
    compared = (
        Comparison(
            metric=name,
            candidate=float(ours[name][0]),
            baseline=float(theirs[name][0]),
            gain=float(at_once[name][0]),
            low=bound(values, confidence, count),
            high=bound(values, confidence, count, upper=True),
            error=standard_error(values, count),
        )
        for name, values in found.items()
    )
    return tuple(each for each in compared if math.isfinite(each.gain) and math.isfinite(each.error))
