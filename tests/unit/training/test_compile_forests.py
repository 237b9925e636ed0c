"""Decision trees, forests and gradient boosting equal their estimators bit for bit, and refuse what those refuse."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Task
from scoring.scorer import library
from scoring.scorer.compiled import CompiledModel, sigmoid
from scoring.scorer.graph import parse_graph
from scoring.scorer.graph_rules import check_graph
from scoring.scorer.kernels import Unsuitable, kernels
from tests.support.thresholds import EXTREMES, adversarial_rows, every_threshold
from training import compile as compiling
from training.compile import Compiled, compile_model, forests

ROWS = 1_000
Maker = Callable[[], Any]


def sample(seed: int = 0, rows: int = ROWS, *, missing: bool = False) -> tuple[Floats, Floats]:
    """Numbers of all sizes, codes, a constant, float64 numbers that float32 cannot hold, and perhaps missing ones."""
    random = np.random.default_rng(seed)
    exponents = random.integers(-30, 30, rows)
    matrix = np.column_stack(
        [
            random.normal(size=rows),
            random.integers(0, 12, rows).astype(float),
            np.full(rows, 3.0),
            random.normal(size=rows) * 10.0**exponents,
            1.0 + random.integers(0, 40, rows) * 2.0**-24,  # on ties between two float32, and between two ties
        ]
    )
    target = matrix[:, 0] + np.sin(matrix[:, 1]) + (matrix[:, 4] - 1.0) * 2.0**19 + random.normal(scale=0.3, size=rows)
    if missing:
        matrix[random.random(matrix.shape) < 0.15] = np.nan
    return matrix, target


def makers() -> dict[str, tuple[Task, Maker]]:
    from sklearn import ensemble as e
    from sklearn import tree as t

    binary: dict[str, Maker] = {
        "random forest": lambda: e.RandomForestClassifier(40, random_state=0),
        "random forest, flat": lambda: e.RandomForestClassifier(60, max_leaf_nodes=31, random_state=0),
        "random forest by log loss": lambda: e.RandomForestClassifier(10, criterion="log_loss", random_state=0),
        "weighted random forest": lambda: e.RandomForestClassifier(10, class_weight="balanced", random_state=0),
        "extra trees": lambda: e.ExtraTreesClassifier(40, max_depth=6, random_state=0),
        "decision tree": lambda: t.DecisionTreeClassifier(random_state=0),
        "extra tree": lambda: t.ExtraTreeClassifier(max_depth=5, random_state=0),
        "boosting": lambda: e.GradientBoostingClassifier(random_state=0),
        "boosting by exponential loss": lambda: e.GradientBoostingClassifier(loss="exponential", random_state=0),
        "boosting from zero": lambda: e.GradientBoostingClassifier(
            init="zero", subsample=0.5, max_depth=6, random_state=0
        ),
    }
    regression: dict[str, Maker] = {
        "random forest of numbers": lambda: e.RandomForestRegressor(37, random_state=0),
        "random forest by absolute error": lambda: e.RandomForestRegressor(
            5, criterion="absolute_error", max_depth=4, random_state=0
        ),
        "extra trees of numbers": lambda: e.ExtraTreesRegressor(33, min_samples_leaf=30, random_state=0),
        "decision tree of numbers": lambda: t.DecisionTreeRegressor(random_state=0),
        "extra tree of numbers": lambda: t.ExtraTreeRegressor(max_leaf_nodes=20, random_state=0),
        "boosting of numbers": lambda: e.GradientBoostingRegressor(random_state=0),
        "boosting by huber": lambda: e.GradientBoostingRegressor(loss="huber", learning_rate=0.3, random_state=0),
        "boosting by quantile": lambda: e.GradientBoostingRegressor(loss="quantile", alpha=0.9, random_state=0),
        "boosting by absolute error": lambda: e.GradientBoostingRegressor(loss="absolute_error", random_state=0),
    }
    found = {name: (Task.BINARY, make) for name, make in binary.items()}
    return found | {name: (Task.REGRESSION, make) for name, make in regression.items()}


NAMES = [*makers()]
WITH_MISSING = [name for name in NAMES if "boosting" not in name]


def fitted(estimator: Any, task: Task, *, missing: bool = False) -> tuple[Any, Floats]:
    matrix, target = sample(missing=missing)
    return estimator.fit(matrix, (target > 0).astype(int) if task is Task.BINARY else target), matrix


@cache
def made(name: str, *, missing: bool = False) -> tuple[Any, Task, Floats]:
    task, make = makers()[name]
    estimator, matrix = fitted(make(), task, missing=missing)
    return estimator, task, matrix


def predict(estimator: Any, task: Task, matrix: Floats) -> Floats:
    """numpy warns when scikit-learn rounds large numbers to float32 and looks for infinite ones by adding up."""
    with np.errstate(over="ignore", invalid="ignore"):
        return compiling.predict(estimator, task, matrix)


def assert_same_bits(found: Floats, expected: Floats) -> None:
    assert len(found) == len(expected) > 0
    assert (found.view(np.int64) == expected.view(np.int64)).all()


def assert_exact(estimator: Any, task: Task, matrix: Floats, *rows: Floats) -> CompiledModel:
    compiled = compile_model(estimator, task, matrix, tolerance=0.0)
    assert compiled.output.exact
    model = CompiledModel(compiled.graph, compiled.output)
    for placed in rows:
        expected = predict(estimator, task, placed)
        assert_same_bits(model.run(placed), expected)
        for found in by_kernels(compiled, placed):
            assert_same_bits(found, expected)
    return model


def by_kernels(compiled: Compiled, matrix: Floats) -> list[Floats]:
    """The scores of every kernel that takes the model at all, however slow it is."""
    found = []
    for make in kernels().values():
        with suppress(Unsuitable):
            raw = make(parse_graph(compiled.graph)).run(matrix)
            found.append(sigmoid(raw) if compiled.output.link is Link.SIGMOID else raw)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_the_estimator_bit_for_bit_around_every_threshold(name: str) -> None:
    estimator, task, matrix = made(name)
    rows = adversarial_rows(estimator, matrix, 3_000, 1, EXTREMES, rounded=True)
    near = every_threshold(estimator, matrix, rounded=True)
    assert len(near) > 100
    assert_exact(estimator, task, matrix, matrix, rows, near)


@pytest.mark.parametrize("name", WITH_MISSING)
def test_missing_values_go_where_the_trees_send_them(name: str) -> None:
    estimator, task, matrix = made(name, missing=True)
    rows = adversarial_rows(estimator, matrix, 3_000, 2, (np.nan, *EXTREMES), rounded=True)
    assert np.isnan(rows).any(axis=1).sum() > 300
    assert_exact(estimator, task, matrix, matrix, rows)


@pytest.mark.parametrize("name", ["random forest", "decision tree of numbers"])
def test_missing_values_that_training_never_saw_go_where_the_estimator_sends_them(name: str) -> None:
    estimator, task, matrix = made(name)
    assert_exact(estimator, task, matrix, adversarial_rows(estimator, matrix, 2_000, 3, (np.nan,), rounded=True))


@pytest.mark.parametrize("name", ["random forest, flat", "boosting", "random forest", "decision tree of numbers"])
def test_the_size_of_a_batch_does_not_change_a_score(name: str) -> None:
    estimator, task, matrix = made(name)
    compiled = compile_model(estimator, task, matrix, tolerance=0.0)
    model = CompiledModel(compiled.graph, compiled.output)
    whole = model.run(matrix)
    for size in (1, 2, 3, 31, 49, 50, 51, 127, 128, 129, 255, 256, 257, 1_000):
        parts = [model.run(matrix[start : start + size]) for start in range(0, min(ROWS, 40 * size), size)]
        assert_same_bits(np.concatenate(parts), whole[: sum(map(len, parts))])


REFUSED = (np.inf, -np.inf, 3.5e38, -1e300, 2.0**128 - 2.0**103)
LARGEST_TAKEN = float(np.nextafter(2.0**128 - 2.0**103, 0.0))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_the_estimator_refuses_gets_no_score(name: str) -> None:
    estimator, task, matrix = made(name)
    refused = REFUSED if name in WITH_MISSING else (*REFUSED, np.nan)
    compiled = compile_model(estimator, task, matrix, tolerance=0.0)
    model = CompiledModel(compiled.graph, compiled.output)
    for place in range(matrix.shape[1]):
        rows = np.repeat(matrix[:1], len(refused), axis=0)
        rows[:, place] = refused
        for row in rows:
            with pytest.raises(ValueError, match=r"infinity|NaN"):
                predict(estimator, task, row[None])
        assert np.isnan(model.run(rows)).all()
        assert all(np.isnan(found).all() for found in by_kernels(compiled, rows))
        taken = matrix[:2].copy()
        taken[:, place] = LARGEST_TAKEN, -LARGEST_TAKEN
        assert_same_bits(model.run(taken), predict(estimator, task, taken))


def test_a_domain_of_many_features_is_held_by_several_trees() -> None:
    from sklearn.ensemble import RandomForestRegressor

    matrix = np.random.default_rng(0).normal(size=(200, 3 * forests.DOMAIN_FEATURES + 1))
    estimator = RandomForestRegressor(5, random_state=0).fit(matrix, matrix[:, 0])
    model = assert_exact(estimator, Task.REGRESSION, matrix, matrix)
    for place in range(matrix.shape[1]):
        row = matrix[:1].copy()
        row[0, place] = np.inf
        assert np.isnan(model.run(row)).all()


@given(st.floats(allow_nan=False))
@settings(max_examples=500)
def test_a_moved_threshold_parts_the_numbers_where_rounding_does(threshold: float) -> None:
    (moved,) = forests.rounded_to_float32(np.array([threshold]))
    with np.errstate(over="ignore"):
        assert np.float64(np.float32(moved)) <= threshold
        following = np.nextafter(moved, np.inf)
        assert following == moved or np.float64(np.float32(following)) > threshold


@given(st.floats(width=32, allow_nan=False), st.sampled_from([0.0, 0.25, 0.5, 0.75]), st.integers(-2, 2))
@settings(max_examples=500)
def test_a_threshold_near_a_tie_is_moved_right(low: float, part: float, steps: int) -> None:
    single = np.float32(low)
    with np.errstate(over="ignore"):
        high = float(np.nextafter(single, np.float32(np.inf)))
        number = low + part * (high - low) if np.isfinite([low, high]).all() else low
        for _ in range(abs(steps)):
            number = float(np.nextafter(number, np.copysign(np.inf, steps)))
        (moved,) = forests.rounded_to_float32(np.array([low]))
        assert (number <= moved) == (float(np.float32(number)) <= low)


def test_thresholds_that_are_not_moved_are_caught_by_the_rows_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, task, matrix = made("random forest")
    rows = adversarial_rows(estimator, matrix, 2_000, 1, EXTREMES, rounded=True)
    monkeypatch.setattr(forests, "rounded_to_float32", np.copy)
    with pytest.raises(AssertionError):
        assert_exact(estimator, task, matrix, rows)


def test_a_forest_of_many_threads_is_added_up_in_the_order_of_its_trees() -> None:
    estimator, task, matrix = made.__wrapped__("random forest of numbers")
    alone = predict(estimator, task, matrix)
    estimator.set_params(n_jobs=4)
    for _ in range(5):
        assert_same_bits(predict(estimator, task, matrix), alone)


def test_trees_of_many_leaves_are_walked_or_left_to_onnx_runtime() -> None:
    from sklearn.ensemble import RandomForestRegressor

    matrix, target = sample()
    matrix = matrix[:, :1]
    estimator = RandomForestRegressor(130, max_features=1, random_state=0).fit(matrix, target)
    assert max(tree.get_n_leaves() for tree in estimator.estimators_) > 500
    model = assert_exact(estimator, Task.REGRESSION, matrix, matrix, matrix[:1], matrix[:100])
    assert model.kernel == ("onnxruntime" if library.load() is None else "compiled")


def test_a_pipeline_of_nothing_but_a_forest_is_compiled_exactly() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    estimator, matrix = fitted(make_pipeline(RandomForestClassifier(5, random_state=0)), Task.BINARY)
    assert_exact(estimator, Task.BINARY, matrix, matrix)


def test_the_link_of_boosting_stands_in_the_output() -> None:
    for name, link in (("boosting", Link.SIGMOID), ("random forest", Link.IDENTITY)):
        estimator, task, matrix = made(name)
        assert compile_model(estimator, task, matrix, tolerance=0.0, threshold=0.4).output.link is link


def test_boosting_from_a_first_guess_of_the_users_own_is_compiled_within_the_tolerance() -> None:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    estimator, _ = fitted(GradientBoostingRegressor(n_estimators=5, init=LinearRegression()), Task.REGRESSION)
    assert not forests.is_forest(estimator)


@pytest.mark.parametrize(
    ("targets", "task", "why"),
    [
        (lambda y: np.digitize(y, [-1.0, 1.0]), Task.BINARY, "3 classes cannot be compiled for a binary model"),
        (lambda y: (y > 0).astype(int), Task.REGRESSION, "2 classes cannot be compiled for a regression model"),
        (lambda y: np.column_stack([y > 0, y > 1]).astype(int), Task.BINARY, "predicts 2 numbers"),
    ],
    ids=["three classes", "classes for numbers", "two outputs"],
)
def test_what_has_no_single_score_is_refused(targets: Any, task: Task, why: str) -> None:
    from sklearn.ensemble import RandomForestClassifier

    matrix, target = sample(rows=200)
    estimator = RandomForestClassifier(3, random_state=0).fit(matrix, targets(target))
    with pytest.raises(ConfigurationError, match=why):
        compile_model(estimator, task, matrix, tolerance=0.0)


PARAMETERS = st.fixed_dictionaries(
    {
        "random_state": st.integers(0, 1_000),
        "max_depth": st.sampled_from([None, 1, 2, 5, 9]),
        "max_leaf_nodes": st.sampled_from([None, 2, 31, 33, 64, 65]),
        "min_samples_leaf": st.sampled_from([1, 2, 25]),
        "max_features": st.sampled_from([None, "sqrt", 1]),
    }
)


@settings(max_examples=40)
@given(
    name=st.sampled_from([name for name in NAMES if "absolute" not in name]),
    parameters=PARAMETERS,
    trees=st.integers(1, 30),
    seed=st.integers(0, 10_000),
    missing=st.booleans(),
)
def test_any_estimator_is_compiled_bit_for_bit(
    name: str, parameters: dict[str, Any], trees: int, seed: int, missing: bool
) -> None:
    task, make = makers()[name]
    missing = missing and name in WITH_MISSING
    matrix, target = sample(seed, 200, missing=missing)
    estimator = make().set_params(**parameters)
    if "n_estimators" in estimator.get_params():
        estimator.set_params(n_estimators=trees)
    estimator.fit(matrix, (target > np.median(target)).astype(int) if task is Task.BINARY else target)
    odd = (np.nan, *EXTREMES) if name in WITH_MISSING else EXTREMES
    rows = adversarial_rows(estimator, matrix, 400, seed, odd, rounded=True)
    compiled = compile_model(estimator, task, matrix, tolerance=0.0)
    assert check_graph(compiled.graph, compiled.output) == matrix.shape[1]
    model = CompiledModel(compiled.graph, compiled.output)
    expected = predict(estimator, task, rows)
    assert_same_bits(model.run(rows), expected)
    for found in by_kernels(compiled, rows):
        assert_same_bits(found, expected)
    assert_same_bits(np.concatenate([model.run(rows[:1]), model.run(rows[1:60])]), expected[:60])
