"""Rows placed on, just beside and beyond the thresholds of trees, where a conversion goes wrong first."""

from typing import Any

import numpy as np

from scoring.contract.encoder import Floats


def adversarial_rows(estimator: Any, matrix: Floats, rows: int, seed: int) -> Floats:
    """Real rows in which every feature that the trees split on is moved on, next to or beyond one of its thresholds."""
    random = np.random.default_rng(seed)
    placed = matrix[random.integers(0, len(matrix), rows)].copy()
    for feature, thresholds in thresholds_of(estimator).items():
        near = thresholds[random.integers(0, len(thresholds), rows)]
        choice = random.integers(0, 7, rows)
        placed[:, feature] = np.select(
            [choice == place for place in range(6)],
            [
                near,
                np.nextafter(near, np.inf),
                np.nextafter(near, -np.inf),
                np.full(rows, np.nan),
                np.full(rows, np.inf),
                np.full(rows, -np.inf),
            ],
            placed[:, feature],
        )
    return placed


def every_threshold(estimator: Any, matrix: Floats) -> Floats:
    """Three rows for every threshold of every feature: on it and next to it on both sides, the rest a real row."""
    rows: list[Floats] = []
    for feature, thresholds in thresholds_of(estimator).items():
        for near in thresholds:
            for value in (near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)):
                row = matrix[len(rows) % len(matrix)].copy()
                row[feature] = value
                rows.append(row)
    return np.array(rows)


def thresholds_of(estimator: Any) -> dict[int, Floats]:
    """The distinct thresholds by feature."""
    found: dict[int, set[float]] = {}
    for (predictor,) in estimator._predictors:
        splits = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        for feature, threshold in zip(splits["feature_idx"], splits["num_threshold"], strict=True):
            found.setdefault(int(feature), set()).add(float(threshold))
    return {feature: np.array(sorted(values)) for feature, values in found.items()}
