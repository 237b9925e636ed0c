from typing import Any

import numpy as np
import pytest

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Task
from scoring.scorer.compiled import CompiledModel
from tests.support.thresholds import adversarial_rows, every_threshold
from training.compile import compile_model, predict

ROWS = 3_000


def sample(seed: int = 0) -> tuple[Floats, Floats]:
    """Numbers, codes, a constant and a feature that is mostly missing."""
    random = np.random.default_rng(seed)
    matrix = np.column_stack(
        [
            random.normal(size=ROWS),
            random.integers(0, 12, ROWS).astype(float),
            np.full(ROWS, 3.0),
            np.where(random.random(ROWS) < 0.7, np.nan, random.exponential(size=ROWS)),
            random.normal(scale=1e6, size=ROWS),
        ]
    )
    target = matrix[:, 0] + np.sin(matrix[:, 1]) + np.where(np.isnan(matrix[:, 3]), 0.5, 0.0)
    return matrix, target + random.normal(scale=0.3, size=ROWS)


def classifier(**parameters: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=30, random_state=0, early_stopping=False, **parameters)


def regressor(**parameters: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=30, random_state=0, early_stopping=False, **parameters)


def fitted(estimator: Any, task: Task) -> tuple[Any, Floats]:
    matrix, target = sample()
    wanted = (target > 0).astype(int) if task is Task.BINARY else target
    return estimator.fit(matrix, wanted), matrix


def assert_equal_bit_for_bit(estimator: Any, task: Task, matrix: Floats) -> None:
    compiled = compile_model(estimator, task, matrix, tolerance=0.0)
    assert compiled.output.exact
    found = CompiledModel(compiled.graph, compiled.output).run(matrix)
    expected = predict(estimator, task, matrix)
    assert (found.view(np.int64) == expected.view(np.int64)).all()


@pytest.mark.parametrize("rows_of", [adversarial_rows, every_threshold])
def test_a_compiled_classifier_equals_the_estimator_bit_for_bit_around_its_thresholds(rows_of: Any) -> None:
    estimator, matrix = fitted(classifier(), Task.BINARY)
    rows = rows_of(estimator, matrix, 20_000, 1) if rows_of is adversarial_rows else rows_of(estimator, matrix)
    assert_equal_bit_for_bit(estimator, Task.BINARY, rows)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile"])
def test_a_compiled_regressor_equals_the_estimator_bit_for_bit_around_its_thresholds(loss: str) -> None:
    estimator, matrix = fitted(
        regressor(loss=loss, **({"quantile": 0.9} if loss == "quantile" else {})), Task.REGRESSION
    )
    assert_equal_bit_for_bit(estimator, Task.REGRESSION, adversarial_rows(estimator, matrix, 20_000, 2))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 127, 128, 129, 1_000])
def test_the_size_of_a_batch_does_not_change_a_score(rows: int) -> None:
    estimator, matrix = fitted(classifier(), Task.BINARY)
    compiled = compile_model(estimator, Task.BINARY, matrix, tolerance=0.0)
    model = CompiledModel(compiled.graph, compiled.output)
    parts = [model.run(matrix[start : start + rows]) for start in range(0, 1_000, rows)]
    whole = model.run(matrix)[: sum(map(len, parts))]
    assert (np.concatenate(parts).view(np.int64) == whole.view(np.int64)).all()


def test_trees_without_any_split_are_compiled() -> None:
    matrix, _ = sample()
    estimator = regressor(min_samples_leaf=ROWS).fit(matrix, np.linspace(0.1, 0.7, ROWS))
    assert_equal_bit_for_bit(estimator, Task.REGRESSION, matrix)


def test_a_pipeline_of_nothing_but_the_trees_is_compiled_exactly() -> None:
    from sklearn.pipeline import make_pipeline

    matrix, target = sample()
    estimator = make_pipeline(classifier()).fit(matrix, (target > 0).astype(int))
    assert_equal_bit_for_bit(estimator, Task.BINARY, matrix)


def test_the_link_and_threshold_stand_in_the_output() -> None:
    estimator, matrix = fitted(classifier(), Task.BINARY)
    output = compile_model(estimator, Task.BINARY, matrix, tolerance=0.0, threshold=0.3).output
    assert (output.link, output.threshold, output.input_type, output.tolerance) == (Link.SIGMOID, 0.3, "double", 0.0)


def test_compiling_the_same_trees_gives_the_same_bytes() -> None:
    estimator, matrix = fitted(classifier(), Task.BINARY)
    first, second = (compile_model(estimator, Task.BINARY, matrix, tolerance=0.0).graph for _ in range(2))
    assert first == second


def test_native_splits_on_categories_are_refused_with_what_to_do() -> None:
    estimator, matrix = fitted(classifier(categorical_features=[1]), Task.BINARY)
    with pytest.raises(ConfigurationError, match=r"natively on categories.*leave out categorical_features"):
        compile_model(estimator, Task.BINARY, matrix, tolerance=0.0)


def test_a_loss_with_a_link_that_the_manifest_does_not_know_is_refused() -> None:
    matrix, target = sample()
    estimator = regressor(loss="poisson").fit(matrix, np.abs(target))
    with pytest.raises(ConfigurationError, match=r"loss 'poisson'.*LogLink"):
        compile_model(estimator, Task.REGRESSION, matrix, tolerance=0.0)


def test_more_than_two_classes_are_refused() -> None:
    matrix, target = sample()
    estimator = classifier().fit(matrix, np.digitize(target, [-1.0, 1.0]))
    with pytest.raises(ConfigurationError, match="cannot be compiled for a binary model"):
        compile_model(estimator, Task.BINARY, matrix, tolerance=0.0)


def test_the_sigmoid_of_the_worker_is_the_one_of_scikit_learn_bit_for_bit() -> None:
    from scipy.special import expit

    from scoring.scorer.compiled import sigmoid

    random = np.random.default_rng(3)
    raw = np.concatenate(
        [
            random.normal(scale=3.0, size=500_000),
            random.uniform(-750, 750, 200_000),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 709.78, -709.78, -709.0, -745.2, -800.0, 36.7, 36.8, 5e-324],
        ]
    )
    found, expected = sigmoid(raw), expit(raw)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    assert same.all(), raw[~same][:5]
