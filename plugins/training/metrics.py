"""Metrics of scores on a holdout, in numpy: comparing models loads no training library."""

import math
from collections.abc import Mapping

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task

# A certain and wrong prediction costs this much of probability instead of infinity (as in scikit-learn for float64).
_SMALLEST = float(np.finfo(np.float64).eps)


def metrics_of(task: Task, scores: Floats, targets: Floats) -> Mapping[str, float]:
    """The metrics by name; one that is not a number for these rows is left out.

    Args:
        scores, targets: of shape (rows,); a binary model's targets are 0 and 1.
    """
    measured = _binary(scores, targets) if task is Task.BINARY else _regression(scores, targets)
    return {name: value for name, value in measured.items() if math.isfinite(value)}


def _binary(scores: Floats, targets: Floats) -> dict[str, float]:
    losses = row_losses(Task.BINARY, scores, targets)
    return {
        "auc": auc(scores, targets),
        "log_loss": float(np.mean(losses["log_loss"])),
        "brier": float(np.mean(losses["squared"])),
        "base_rate": float(np.mean(targets)),
        "mean_score": float(np.mean(scores)),
    }


def row_losses(task: Task, scores: Floats, targets: Floats) -> dict[str, Floats]:
    """The losses of each row, whose means are metrics, each of shape (rows,)."""
    errors = scores - targets
    if task is Task.REGRESSION:
        return {"absolute": np.abs(errors), "squared": errors**2}
    clipped = np.clip(scores, _SMALLEST, 1.0 - _SMALLEST)
    return {
        "log_loss": -(targets * np.log(clipped) + (1.0 - targets) * np.log1p(-clipped)),
        "squared": errors**2,
    }


def auc(scores: Floats, targets: Floats) -> float:
    """Area under the ROC curve: the chance that a positive row scores above a negative one, ties counted half.

    By the rank-sum form (Hanley and McNeil, 1982); NaN where a class is missing.
    """
    positive = targets > 0
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0 or bool(np.isnan(scores).any()):
        return math.nan
    ranks = _ranks(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _regression(scores: Floats, targets: Floats) -> dict[str, float]:
    losses = row_losses(Task.REGRESSION, scores, targets)
    squared, spread = float(np.mean(losses["squared"])), float(np.mean((targets - targets.mean()) ** 2))
    return {
        "mae": float(np.mean(losses["absolute"])),
        "rmse": math.sqrt(squared),
        "r2": 1.0 - squared / spread if spread > 0 else math.nan,
        "mean_target": float(np.mean(targets)),
        "mean_score": float(np.mean(scores)),
    }
