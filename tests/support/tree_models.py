"""Estimators of trees of every shape, compiled, and rows that a wrong kernel scores wrongly."""

from functools import cache
from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Link, Output, Task
from tests.support.thresholds import EXTREMES, ODD, adversarial_rows, every_threshold
from training.compile import compile_model

ROWS = 1_500


def sample() -> tuple[Floats, Floats]:
    """A number, a code, a constant, and a number that is mostly missing."""
    random = np.random.default_rng(5)
    matrix = np.column_stack(
        [
            random.normal(size=ROWS),
            random.integers(0, 90, ROWS).astype(float),
            np.full(ROWS, 3.0),
            np.where(random.random(ROWS) < 0.7, np.nan, random.exponential(size=ROWS)),
        ]
    )
    return matrix, matrix[:, 0] + np.sin(matrix[:, 1]) + random.normal(scale=0.3, size=ROWS)


def estimators() -> dict[str, Any]:
    from sklearn import ensemble as e
    from sklearn import tree as t

    def boosting(**parameters: Any) -> Any:
        made = {"max_iter": 12, "random_state": 0, "early_stopping": False, "min_samples_leaf": 3, **parameters}
        return e.HistGradientBoostingRegressor(**made)

    return {
        "31 leaves": boosting(),
        "33 leaves": boosting(max_leaf_nodes=33),
        "500 leaves and more": boosting(max_leaf_nodes=600, min_samples_leaf=1),
        "stumps": boosting(max_leaf_nodes=2),
        "no split": boosting(min_samples_leaf=ROWS),
        "one tree": boosting(max_iter=1),
        "300 trees": boosting(max_iter=300, max_leaf_nodes=4),
        "categories": boosting(categorical_features=[1]),
        "categories, many leaves": boosting(categorical_features=[1], max_leaf_nodes=200, min_samples_leaf=1),
        "deep forest": e.RandomForestRegressor(15, random_state=0),
        "extra trees": e.ExtraTreesRegressor(15, max_leaf_nodes=40, random_state=0),
        "decision tree": t.DecisionTreeRegressor(random_state=0),
    }


NAMES = [*estimators()]


@cache
def model(name: str) -> tuple[Any, Floats, bytes, Output]:
    """Estimator, matrix, and the compiled model without its link."""
    matrix, target = sample()
    estimator = estimators()[name].fit(matrix, target)
    made = compile_model(estimator, Task.REGRESSION, matrix, tolerance=0.0)
    return estimator, matrix, made.graph, msgspec.structs.replace(made.output, link=Link.IDENTITY)


def rows_for(name: str) -> Floats:
    """The training's rows, and such that a wrong kernel scores wrongly."""
    estimator, matrix, *_ = model(name)
    rows = [
        matrix,
        adversarial_rows(estimator, matrix, 1_000, 1, (*ODD, *EXTREMES)),
        every_threshold(estimator, matrix),
    ]
    random = np.random.default_rng(2)
    codes = matrix[random.integers(0, ROWS, 400)]
    codes[:, 1] = random.choice([*ODD, *EXTREMES, -1.0, 3.5, 89.0, 90.0, 255.0, 1e308], 400)
    return np.concatenate([each for each in [*rows, codes] if len(each)])


def same_bits(found: Floats, expected: Floats) -> bool:
    return found.shape == expected.shape and bool((found.view(np.int64) == expected.view(np.int64)).all())
