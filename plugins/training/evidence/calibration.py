"""Calibration: whether a probability of 0.3 comes true three times in ten, and a predicted number on average.

Of several classes the most probable one is looked at: whether what is predicted with 0.7 comes true seven times in ten.
"""

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from training.evidence.bootstrap import Blocks, bound
from training.evidence.sums import Indexes
from training.measured import Bin, Calibration
from training.metrics import top_label

BINS = 10
ROWS_PER_BIN = 50


def calibration_of(
    task: Task, scores: Floats, targets: Floats, blocks: Blocks, weights: Floats, confidence: float
) -> Calibration | None:
    """The reliability of scores in bins of about equal counts; None without rows or with scores that are no numbers.

    Args:
        scores, targets: as ``training.metrics.metrics_of`` takes them.
        weights: of the resamples, for the bound of the error.
    """
    if len(scores) == 0 or not bool(np.isfinite(scores).all()):
        return None
    if task is Task.MULTICLASS:
        scores, targets = top_label(scores, targets)
    count = max(1, min(BINS, len(scores) // ROWS_PER_BIN))
    edges = np.unique(np.quantile(scores, np.linspace(0.0, 1.0, count + 1)[1:-1])) if count > 1 else np.empty(0)
    place = np.searchsorted(edges, scores, side="left")  # equal scores stay together
    rows = np.bincount(place, minlength=len(edges) + 1)
    filled = rows > 0
    predicted = np.bincount(place, weights=scores, minlength=len(rows))[filled] / rows[filled]
    observed = np.bincount(place, weights=targets, minlength=len(rows))[filled] / rows[filled]
    distance = float(np.average(np.abs(predicted - observed), weights=rows[filled]))
    spread = (float(np.std(targets)) if task is Task.REGRESSION else 1.0) or 1.0
    low = bound(_resampled(scores - targets, place, len(rows), blocks, weights), confidence, blocks.count)
    return Calibration(
        bins=tuple(
            Bin(rows=int(each), predicted=float(score), observed=float(target))
            for each, score, target in zip(rows[filled], predicted, observed, strict=True)
        ),
        error=distance / spread,
        bias=float(np.mean(scores) - np.mean(targets)),
        low=None if low is None else low / spread,
    )


def _resampled(errors: Floats, bins: Indexes, count: int, blocks: Blocks, weights: Floats) -> Floats:
    """The mean distance in each resample, of shape (resamples,): the sum over the bins of what does not cancel."""
    place = blocks.of_row * count + bins
    sums = np.bincount(place, weights=errors, minlength=blocks.count * count).reshape(blocks.count, count)
    rows = np.bincount(blocks.of_row, minlength=blocks.count)
    distances: Floats = np.abs(weights @ sums).sum(axis=1) / (weights @ rows)
    return distances
