"""Leaks: what a feature by itself tells about the label, and rows that are in the holdout and in training."""

import math

import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Column, Floats
from scoring.contract.features import Category, FeatureSchema
from scoring.contract.manifest import Task
from training.metrics import areas, metrics_of

SAMPLE_ROWS = 100_000
BINS = 100
ROWS_PER_BIN = 50
# A bin's mean is drawn to the mean of all by this many rows.
PRIOR_ROWS = 5.0


def power_of(
    task: Task, schema: FeatureSchema, training: Floats, labels: Floats, holdout: Floats, targets: Floats
) -> dict[str, float]:
    """How well each feature by itself predicts the holdout: AUC for classes, R² for numbers, 0 where it cannot.

    The prediction is the mean label of the training rows in the same hundredth of the feature, of the same category, or
    with the value missing as well: whatever shape the connection has, it shows. Of several classes it is the share of
    each, and the mean of their areas counts, of those that the holdout has.

    Args:
        training, holdout: matrices of shape (rows, features).
        labels, targets: what is to be predicted, for the one and the other.
    """
    measure = measure_of(task)
    found: dict[str, float] = {}
    for place, feature in enumerate(schema.features):
        fitted, judged = _codes(training[:, place], holdout[:, place], words=isinstance(feature, Category))
        count = 1 + max(int(fitted.max(initial=0)), int(judged.max(initial=0)))
        if task is Task.MULTICLASS:
            found[feature.name] = _mean_area(fitted, labels, judged, targets, count)
            continue
        means = _means(fitted, labels, count)
        found[feature.name] = max(0.0, metrics_of(task, means[judged], targets).get(measure, 0.0))
    return found


def _mean_area(
    fitted: npt.NDArray[np.intp], labels: Floats, judged: npt.NDArray[np.intp], targets: Floats, count: int
) -> float:
    """The mean over the classes of the holdout of what their shares in each bin say about them."""
    classes = range(1 + int(max(labels.max(initial=0.0), targets.max(initial=0.0))))
    shares = np.column_stack([_means(fitted, (labels == place).astype(np.float64), count) for place in classes])
    known = areas(shares[judged], targets)
    return float(np.mean(known[np.isfinite(known)])) if np.isfinite(known).any() else 0.0


def measure_of(task: Task) -> str:
    """In which metric a single feature is measured."""
    return "r2" if task is Task.REGRESSION else "auc"


def sample(places: npt.NDArray[np.intp], most: int = SAMPLE_ROWS) -> npt.NDArray[np.intp]:
    """At most ``most`` places, evenly spread."""
    return places[:: max(1, math.ceil(len(places) / most))]


def shared(training: Column, holdout: Column) -> int:
    """How many holdout rows have the key of a training row."""
    known = {value for value in training if value is not None}
    return sum(1 for value in holdout if value in known)


def _means(codes: npt.NDArray[np.intp], labels: Floats, count: int) -> Floats:
    rows = np.bincount(codes, minlength=count)
    total = np.bincount(codes, weights=labels, minlength=count)
    return (total + PRIOR_ROWS * float(np.mean(labels))) / (rows + PRIOR_ROWS)


def _codes(training: Floats, holdout: Floats, *, words: bool) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The bin of each row, 0 for a missing value."""
    if words:
        return _whole(training), _whole(holdout)
    there = training[np.isfinite(training)]
    bins = max(1, min(BINS, len(there) // ROWS_PER_BIN))
    edges = np.unique(np.quantile(there, np.linspace(0.0, 1.0, bins + 1)[1:-1])) if bins > 1 else np.empty(0)

    def code(column: Floats) -> npt.NDArray[np.intp]:
        return np.where(np.isnan(column), 0, np.searchsorted(edges, column, side="left") + 1)

    return code(training), code(holdout)


def _whole(column: Floats) -> npt.NDArray[np.intp]:
    return np.where(np.isnan(column), -1.0, column).astype(np.intp) + 1
