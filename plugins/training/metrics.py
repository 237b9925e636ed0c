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
        scores, targets: of shape (rows,); a binary model's targets are 0 and 1. Of several classes the targets are
            the places of the classes, and the scores their probabilities, of shape (rows, classes).
    """
    measured = _MEASURES[task](scores, targets)
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
    if task is Task.MULTICLASS:
        return _class_losses(scores, targets)
    errors = scores - targets
    if task is Task.REGRESSION:
        return {"absolute": np.abs(errors), "squared": errors**2}
    clipped = np.clip(scores, _SMALLEST, 1.0 - _SMALLEST)
    return {
        "log_loss": -(targets * np.log(clipped) + (1.0 - targets) * np.log1p(-clipped)),
        "squared": errors**2,
    }


def _multiclass(scores: Floats, targets: Floats) -> dict[str, float]:
    losses = row_losses(Task.MULTICLASS, scores, targets)
    return {
        "auc": float(np.mean(areas(scores, targets))),
        "log_loss": float(np.mean(losses["log_loss"])),
        "brier": float(np.mean(losses["squared"])),
        "accuracy": float(np.mean(losses["right"])),
    }


def _class_losses(scores: Floats, targets: Floats) -> dict[str, Floats]:
    """``squared`` is summed over the classes (Brier, 1950); ``right`` is 1 where the class is the most probable one."""
    places = targets.astype(np.intp)
    came = np.zeros_like(scores)
    came[np.arange(len(scores)), places] = 1.0
    of_class = scores[np.arange(len(scores)), places]
    confidence, right = top_label(scores, targets)
    return {
        "log_loss": -np.log(np.clip(of_class, _SMALLEST, 1.0 - _SMALLEST)),
        "squared": ((scores - came) ** 2).sum(axis=1),
        "right": np.where(np.isnan(confidence), np.nan, right),
    }


def top_label(scores: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """The highest probability of each row, and whether that class came true, 0 or 1; each of shape (rows,)."""
    return scores.max(axis=1), (scores.argmax(axis=1) == targets).astype(np.float64)


def areas(scores: Floats, targets: Floats) -> Floats:
    """Of each class the area under its ROC curve against all others, of shape (classes,); NaN where it is absent."""
    return np.array([auc(scores[:, place], (targets == place).astype(np.float64)) for place in range(scores.shape[1])])


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


_MEASURES = {Task.BINARY: _binary, Task.MULTICLASS: _multiclass, Task.REGRESSION: _regression}
