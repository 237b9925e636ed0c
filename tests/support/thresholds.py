"""Rows placed on, just beside and beyond the thresholds of trees, where a conversion goes wrong first."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scoring.contract.encoder import Floats

ODD = (np.nan, np.inf, -np.inf)
# What no sensor says, but a record can; float32 holds all of them, the smallest as zero.
EXTREMES = (3.4e38, -3.4e38, 1e-300, -1e-300, 1e-40, 5e-324, 0.0, -0.0)


def adversarial_rows(
    estimator: Any, matrix: Floats, rows: int, seed: int, odd: tuple[float, ...] = ODD, *, rounded: bool = False
) -> Floats:
    """Real rows in which every feature that the trees split on is moved on, next to or beyond one of its thresholds.

    Args:
        odd: numbers without a place beside a threshold.
        rounded: the estimator rounds rows to float32; a threshold's neighbours there are places of their own.
    """
    random = np.random.default_rng(seed)
    placed = matrix[random.integers(0, len(matrix), rows)].copy()
    for feature, thresholds in thresholds_of(estimator).items():
        near = thresholds[random.integers(0, len(thresholds), rows)]
        places = [*_beside(near, rounded=rounded), *(np.full(rows, number) for number in odd)]
        choice = random.integers(0, len(places) + 1, rows)
        placed[:, feature] = np.select([choice == place for place in range(len(places))], places, placed[:, feature])
    return placed


def every_threshold(estimator: Any, matrix: Floats, *, rounded: bool = False) -> Floats:
    """Rows for every threshold of every feature: on it and next to it on both sides, the rest a real row."""
    rows: list[Floats] = []
    for feature, thresholds in thresholds_of(estimator).items():
        for values in _beside(thresholds, rounded=rounded):
            placed = matrix[np.arange(len(rows), len(rows) + len(values)) % len(matrix)].copy()
            placed[:, feature] = values
            rows += [*placed]
    return np.array(rows)


def thresholds_of(estimator: Any) -> dict[int, Floats]:
    """The distinct finite thresholds by feature; of a split on categories, the categories.

    Features are those of the trees.
    """
    found: dict[int, set[float]] = {}
    for features, thresholds in _splits(estimator):
        for feature, threshold in zip(features.tolist(), thresholds.tolist(), strict=True):
            found.setdefault(int(feature), set()).add(float(threshold))
    return {feature: np.array(sorted(values)) for feature, values in found.items()}


def _splits(estimator: Any) -> Iterator[tuple[Any, Any]]:
    """Features and thresholds of each tree's splits."""
    if hasattr(estimator, "_predictors"):
        for iteration in estimator._predictors:
            for predictor in iteration:
                splits = predictor.nodes[(predictor.nodes["is_leaf"] == 0) & (predictor.nodes["is_categorical"] == 0)]
                yield splits["feature_idx"], splits["num_threshold"]
        return
    grown = np.ravel(estimator.estimators_) if hasattr(estimator, "estimators_") else [estimator]
    for one in grown:
        inner = (one.tree_.children_left != -1) & np.isfinite(one.tree_.threshold)
        yield one.tree_.feature[inner], one.tree_.threshold[inner]


def _beside(near: Floats, *, rounded: bool) -> list[Floats]:
    """Numbers around thresholds."""
    places = [near]
    if rounded:
        in_float32 = near.astype(np.float32)
        above, below = np.nextafter(in_float32, np.float32(np.inf)), np.nextafter(in_float32, np.float32(-np.inf))
        singles = [each.astype(np.float64) for each in (below, in_float32, above)]
        ties = [(singles[0] + singles[1]) / 2, (singles[1] + singles[2]) / 2]
        places += singles + ties
    return [beside for place in places for beside in (place, np.nextafter(place, np.inf), np.nextafter(place, -np.inf))]
