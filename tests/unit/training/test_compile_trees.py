import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Task
from scoring.scorer.compiled import CompiledModel, sigmoid
from scoring.scorer.graph import parse_graph
from scoring.scorer.kernels import Unsuitable, kernels
from tests.support.thresholds import adversarial_rows, every_threshold
from training.compile import compile_model, predict, trees

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


def assert_equal_bit_for_bit(estimator: Any, task: Task, matrix: Floats, *, kernel: bool = True) -> None:
    """By ONNX Runtime, and by every kernel, but those of few leaves where they do not take the model."""
    compiled = compile_model(estimator, task, matrix, tolerance=0.0)
    assert compiled.output.exact
    model = CompiledModel(compiled.graph, compiled.output)
    expected = predict(estimator, task, matrix)
    for first in (sys.maxsize, 0):
        model._kernel_rows = first
        assert (model.run(matrix).view(np.int64) == expected.view(np.int64)).all()
    for name, make in kernels().items():
        if name != "walk" and not kernel:
            with pytest.raises(Unsuitable):
                make(parse_graph(compiled.graph))
            continue
        raw = make(parse_graph(compiled.graph)).run(matrix)
        found = sigmoid(raw) if compiled.output.link is Link.SIGMOID else raw
        assert (found.view(np.int64) == expected.view(np.int64)).all(), name


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


def categories(seed: int, rows: int, *, missing: bool) -> tuple[Floats, Floats]:
    """A number, and numbers that are names: codes from 0, large ones, some between whole ones, and many."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 25, rows).astype(float)
    large = random.choice(np.array([-7.0, 30.0, 31.0, 32.0, 33.0, 64.0, 65.0, 2.0**40]), rows)
    between = random.choice(np.array([0.25, 0.5, 0.75, 1e-300, 1e300]), rows)
    many = random.integers(0, 200, rows) * 3.0
    number = random.normal(size=rows)
    target = np.sin(codes * 5.0) + np.cos(large) + np.sin(many) + (between == 0.5) + number
    matrix = np.column_stack([number, codes, large, between, many])
    if missing:
        matrix[random.random(matrix.shape) < 0.1] = np.nan
    return matrix, target + random.normal(scale=0.2, size=rows)


def strangers(matrix: Floats, seed: int) -> Floats:
    """Rows with categories that no row of the training had, and ones beside those that there were."""
    random = np.random.default_rng(seed)
    placed = matrix[random.integers(0, len(matrix), 4_000)].copy()
    for column in range(1, 5):
        known = placed[:, column].copy()
        odd = [np.nextafter(known, np.inf), np.nextafter(known, -np.inf), known + 0.5, -known - 1.0, known * 1000.0]
        odd += [np.full(len(placed), value) for value in (np.nan, 255.0, 256.0, 1e9, -0.0, 29.0, 1e308)]
        placed[:, column] = np.choose(random.integers(0, len(odd) + 3, len(placed)), [*odd, known, known, known])
    return placed


@pytest.mark.parametrize("missing", [False, True], ids=["none missing", "some missing"])
@pytest.mark.parametrize("leaves", [2, 31, 64, 65])
@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_native_splits_on_categories_are_compiled_bit_for_bit(task: Task, leaves: int, missing: bool) -> None:
    matrix, target = categories(leaves, ROWS, missing=missing)
    make = classifier if task is Task.BINARY else regressor
    estimator = make(categorical_features=[1, 2, 3, 4], max_leaf_nodes=leaves, min_samples_leaf=5)
    estimator.fit(matrix, (target > 0).astype(int) if task is Task.BINARY else target)
    asking = sum(int(predictor.nodes["is_categorical"].sum()) for (predictor,) in estimator._predictors)
    assert asking > 10
    rows = strangers(matrix, 5)
    for placed in (matrix, rows, rows[:1], rows[1:3], rows[3:63]):
        assert_equal_bit_for_bit(estimator, task, placed, kernel=leaves <= 64)


def test_a_set_whose_sides_are_exchanged_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, target = categories(0, ROWS, missing=True)
    estimator = regressor(categorical_features=[1, 2, 3, 4]).fit(matrix, target)
    right = trees._in_bitset
    monkeypatch.setattr(trees, "_in_bitset", lambda words, count: ~right(words, count))
    with pytest.raises(AssertionError):
        assert_equal_bit_for_bit(estimator, Task.REGRESSION, strangers(matrix, 5))


def test_all_known_categories_on_the_side_of_the_missing_ones_leave_the_other_one_empty() -> None:
    """The operator knows no empty set."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 3, 600).astype(float)
    codes[:200] = np.nan
    matrix = np.column_stack([codes, random.normal(size=600)])
    target = np.where(np.isnan(codes), 5.0, 0.0) + random.normal(scale=0.01, size=600)
    estimator = regressor(categorical_features=[0]).fit(matrix, target)
    for value in (np.nan, 0.0, 1.0, 2.0, 3.0, -1.0, 1e9):
        row = matrix[:1].copy()
        row[0, 0] = value
        assert_equal_bit_for_bit(estimator, Task.REGRESSION, row)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([2, 8, 31]), st.booleans(), st.sets(st.integers(1, 4), min_size=1))
def test_any_split_on_categories_is_compiled_bit_for_bit(
    seed: int, leaves: int, missing: bool, native: set[int]
) -> None:
    matrix, target = categories(seed, 300, missing=missing)
    estimator = regressor(categorical_features=sorted(native), max_leaf_nodes=leaves, min_samples_leaf=2)
    assert_equal_bit_for_bit(estimator.fit(matrix, target), Task.REGRESSION, strangers(matrix, seed))


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
