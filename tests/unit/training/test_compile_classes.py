"""Models of several classes: every probability is the estimator's bit for bit, in a micro-batch of any size."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Output, Task
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.graph_rules import check_graph
from tests.support.thresholds import EXTREMES, ODD, adversarial_rows, every_threshold
from training import compile as compiling
from training.compile import compile_model, forests
from training.compile.ensemble import SOFTMAX_TOLERANCE

ROWS = 600
BATCHES = (1, 2, 7, 64, 513)
# From eight classes on, numpy adds up the exponentials of a row in another order than one after the other.
COUNTS = (3, 9)
Maker = Callable[[], Any]


def makers() -> dict[str, Maker]:
    from sklearn import ensemble as e
    from sklearn import tree as t

    return {
        "histogram boosting": lambda: e.HistGradientBoostingClassifier(
            max_iter=8, early_stopping=False, random_state=0
        ),
        "categories": lambda: e.HistGradientBoostingClassifier(
            max_iter=8, early_stopping=False, categorical_features=[1], random_state=0
        ),
        "boosting": lambda: e.GradientBoostingClassifier(n_estimators=6, random_state=0),
        "boosting from zero": lambda: e.GradientBoostingClassifier(
            n_estimators=4, init="zero", learning_rate=0.3, random_state=0
        ),
        "random forest": lambda: e.RandomForestClassifier(12, random_state=0),
        "weighted random forest": lambda: e.RandomForestClassifier(
            7, class_weight="balanced", max_leaf_nodes=20, random_state=0
        ),
        "extra trees": lambda: e.ExtraTreesClassifier(7, random_state=0),
        "decision tree": lambda: t.DecisionTreeClassifier(random_state=0),
        "extra tree": lambda: t.ExtraTreeClassifier(max_depth=5, random_state=0),
    }


NAMES = [*makers()]
HISTOGRAM = [name for name in NAMES if name in {"histogram boosting", "categories"}]
BOOSTING = [*HISTOGRAM, "boosting", "boosting from zero"]
WITH_MISSING = [name for name in NAMES if name not in {"boosting", "boosting from zero"}]


def sample(classes: int, *, missing: bool, rows: int = ROWS) -> tuple[Floats, Floats]:
    random = np.random.default_rng(classes)
    matrix = np.column_stack(
        [
            random.normal(size=rows),
            random.integers(0, 12, rows).astype(float),
            random.normal(size=rows) * 10.0 ** random.integers(-30, 30, rows),
            1.0 + random.integers(0, 40, rows) * 2.0**-24,  # on ties between two float32, and between two ties
        ]
    )
    signal = matrix[:, 0] + np.sin(matrix[:, 1]) + (matrix[:, 3] - 1.0) * 2.0**19 + random.normal(size=rows) / 4
    edges = np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1])
    if missing:
        matrix[random.random(matrix.shape) < 0.1] = np.nan
    return matrix, np.searchsorted(edges, signal)


def names(classes: int) -> list[str]:
    return [f"class {place}" for place in range(classes)]


@cache
def made(name: str, classes: int) -> tuple[Any, Floats, CompiledModel, Output]:
    matrix, labels = sample(classes, missing=name in WITH_MISSING)
    estimator = makers()[name]().fit(matrix, labels)
    compiled = compile_model(estimator, Task.MULTICLASS, matrix, tolerance=0.0, classes=names(classes))
    return estimator, matrix, CompiledModel(compiled.graph, compiled.output), compiled.output


def predict(estimator: Any, matrix: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # scikit-learn rounds large numbers to float32
        return compiling.predict(estimator, Task.MULTICLASS, matrix)


def odd_of(name: str) -> tuple[float, ...]:
    if name in HISTOGRAM:
        return ODD
    return (np.nan, *EXTREMES) if name in WITH_MISSING else EXTREMES


def assert_same_bits(found: Floats, expected: Floats) -> None:
    assert found.shape == expected.shape
    assert len(found) > 0
    assert (found.view(np.int64) == expected.view(np.int64)).all()


@pytest.mark.parametrize("classes", COUNTS)
@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_those_of_the_estimator_bit_for_bit_around_every_threshold(name: str, classes: int) -> None:
    estimator, matrix, model, _ = made(name, classes)
    rounded = name not in HISTOGRAM
    places = (
        [adversarial_rows(estimator, matrix, 2_000, 1, odd_of(name), rounded=rounded)] if name != "categories" else []
    )
    near = [every_threshold(estimator, matrix, rounded=rounded)[:5_000]] if name != "categories" else []
    for rows in (matrix, *places, *near):
        expected = predict(estimator, rows)
        assert expected.shape == (len(rows), classes)
        assert_same_bits(model.run(rows), expected)


@pytest.mark.parametrize("classes", COUNTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_a_micro_batch_changes_no_probability(name: str, classes: int) -> None:
    estimator, matrix, model, _ = made(name, classes)
    rows = np.concatenate([matrix, matrix])[:1_026]
    expected = predict(estimator, rows)
    for size in BATCHES:
        until = min(len(rows), 60 * size)
        parts = [model.run(rows[start : start + size]) for start in range(0, until, size)]
        found = np.concatenate(parts)
        assert_same_bits(found, expected[: len(found)])
    assert model.run(rows[:0]).shape == (0, classes)


@pytest.mark.parametrize("name", ["random forest", "histogram boosting", "boosting"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_row_at_all_gets_the_estimators_probabilities(name: str, data: st.DataObject) -> None:
    estimator, matrix, model, _ = made(name, 3)
    missing, infinite = name in WITH_MISSING, name in HISTOGRAM
    largest = None if infinite else 3.4e38
    numbers = st.floats(
        allow_nan=missing,
        allow_infinity=infinite,
        min_value=None if missing or infinite else -3.4e38,
        max_value=None if missing or infinite else largest,
    )
    width = matrix.shape[1]
    rows = np.array(data.draw(st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=5)))
    if missing and not infinite:
        rows = np.where(np.abs(rows) > 3.4e38, 0.0, rows)
    assert_same_bits(model.run(rows), predict(estimator, rows))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in HISTOGRAM])
def test_a_row_that_the_estimator_refuses_gets_no_probability_at_all(name: str) -> None:
    estimator, matrix, model, _ = made(name, 3)
    refused = (np.inf, -np.inf, 3.5e38) if name in WITH_MISSING else (np.inf, -np.inf, 3.5e38, np.nan)
    rows = np.repeat(matrix[:1], len(refused) + 1, axis=0)
    rows[:-1, 2] = refused
    found = model.run(rows)
    assert np.isnan(found[:-1]).all()
    assert np.isfinite(found[-1]).all()
    for row in rows[:-1]:
        with pytest.raises(ValueError, match=r"infinity|NaN"):
            predict(estimator, row[None])


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_promises_what_holds_on_every_processor(name: str) -> None:
    *_, output = made(name, 3)
    assert output.classes == ("class 0", "class 1", "class 2")
    assert (output.exact, output.tolerance) == ((False, SOFTMAX_TOLERANCE) if name in BOOSTING else (True, 0.0))
    if name in HISTOGRAM:
        assert output.link is Link.ORDERED_SOFTMAX
    else:
        assert output.link is (Link.SOFTMAX if name in BOOSTING else Link.IDENTITY)


def test_the_trees_of_a_class_leave_out_the_splits_that_do_not_matter_for_it() -> None:
    estimator, *_ = made("decision tree", 9)
    grown = estimator.tree_
    whole = [forests._tree(grown, grown.value[:, 0, place], place) for place in range(9)]
    smaller = [forests.pruned(tree) for tree in whole]
    assert sum(len(tree.leaf) for tree in smaller) < 0.6 * sum(len(tree.leaf) for tree in whole)
    assert all(tree.leaf.sum() == (~tree.leaf).sum() + 1 for tree in smaller)


@pytest.mark.parametrize("kind", ["logistic regression", "pipeline", "network", "forest in a pipeline"])
def test_other_estimators_are_compiled_within_the_tolerance(kind: str) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    matrix, labels = sample(4, missing=True)
    matrix = matrix[:, [0, 1]]
    estimator: Any = {
        "logistic regression": LogisticRegression(),
        "pipeline": make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        "network": make_pipeline(
            SimpleImputer(), StandardScaler(), MLPClassifier((8,), max_iter=20, early_stopping=False, random_state=0)
        ),
        "forest in a pipeline": make_pipeline(SimpleImputer(), RandomForestClassifier(8, max_depth=4, random_state=0)),
    }[kind]
    if kind == "logistic regression":
        matrix = np.nan_to_num(matrix)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few steps do not converge
        estimator.fit(matrix, labels)
    compiled = compile_model(estimator, Task.MULTICLASS, matrix, tolerance=1e-5, classes=names(4))
    assert (compiled.output.exact, compiled.output.column, compiled.output.link) == (False, 0, Link.IDENTITY)
    assert check_graph(compiled.graph, compiled.output) == 2
    found = CompiledModel(compiled.graph, compiled.output).run(matrix)
    assert found.shape == (ROWS, 4)
    assert np.abs(found - predict(estimator, matrix)).max() < 1e-5


def test_an_estimator_that_never_saw_a_class_is_refused_with_what_it_learnt() -> None:
    from sklearn.ensemble import RandomForestClassifier

    matrix, labels = sample(3, missing=False)
    estimator = RandomForestClassifier(3).fit(matrix[labels != 1], labels[labels != 1])
    with pytest.raises(
        ConfigurationError, match=r"learnt the classes \['a', 'c'\], the definition names \['a', 'b', 'c'\]"
    ):
        compile_model(estimator, Task.MULTICLASS, matrix, tolerance=0.0, classes=["a", "b", "c"])


def test_classes_are_not_compiled_for_a_task_without_them() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    matrix, labels = sample(3, missing=False)
    for estimator in (RandomForestClassifier(3), HistGradientBoostingClassifier(max_iter=2)):
        with pytest.raises(ConfigurationError, match=r"cannot be compiled for a binary model"):
            compile_model(estimator.fit(matrix, labels), Task.BINARY, matrix, tolerance=0.0)
