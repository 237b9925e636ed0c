"""Histogram gradient boosting as a graph that equals scikit-learn bit for bit.

It is exact because every step is the same: thresholds and leaves stay float64, the comparison is ``<=``, missing values
go where the tree was grown to send them, and the sum takes the same order, the baseline first. A split on categories
asks for membership in a set: of the categories on its left, or, where what is missing or unknown goes left, of those on
its right with the sides exchanged; so whatever is in no set goes where scikit-learn sends it.
"""
# ruff: noqa: SLF001  scikit-learn keeps the trees in private attributes; the parity gate watches over what is read

from collections.abc import Sequence
from typing import Any

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Output, Task
from training.compile.ensemble import Ints, Ranked, Tree, boosted_output, constant, graph_of


def is_boosting(estimator: Any) -> bool:
    """Whether this is one of scikit-learn's two histogram gradient boosting estimators."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # noqa: PLC0415

    return type(estimator) in {HistGradientBoostingClassifier, HistGradientBoostingRegressor}


def compile_boosting(estimator: Any, task: Task) -> tuple[bytes, Output]:
    """The graph, and how to run it.

    Raises:
        ConfigurationError: the estimator has categories that are no numbers, or a link that the manifest does not know.
    """
    link = _link(estimator, task)
    ranked, columns = _ranked(estimator), _columns(estimator)
    first = np.ravel(estimator._baseline_prediction).tolist()
    trees = [constant(float(value), target) for target, value in enumerate(first)]
    for iteration in estimator._predictors:
        trees += [_tree(one, columns, ranked, target) for target, one in enumerate(iteration)]
    graph = graph_of(trees, int(estimator.n_features_in_), ranked=ranked, classes=len(first))
    return graph, boosted_output(task, link)


def _link(estimator: Any, task: Task) -> Link:
    name = type(estimator._loss.link).__name__
    links = {
        (Task.BINARY, "LogitLink"): Link.SIGMOID,
        (Task.REGRESSION, "IdentityLink"): Link.IDENTITY,
        # It keeps one class after the other in memory, and numpy adds them up like that.
        (Task.MULTICLASS, "MultinomialLogit"): Link.ORDERED_SOFTMAX,
    }
    if (task, name) not in links:
        raise ConfigurationError(
            f"{type(estimator).__name__} with the loss {estimator.loss!r} ({name}) cannot be compiled for a "
            f"{task.value} model; classification, with the task of the definition, and losses of regression without a "
            "link can"
        )
    return links[task, name]


def _ranked(estimator: Any) -> list[Ranked]:
    """The columns of native categories. scikit-learn replaces each category by its rank, too."""
    if getattr(estimator, "_preprocessor", None) is None:
        return []
    found = estimator._preprocessor.named_transformers_["encoder"].categories_
    columns = np.flatnonzero(np.asarray(estimator.is_categorical_, np.bool_)).tolist()
    return [Ranked(column, _numbers(estimator, known)) for column, known in zip(columns, found, strict=True)]


def _columns(estimator: Any) -> Ints:
    """Which column of what the graph's trees take each feature of the estimator's trees is.

    Those have the native categories first and the other columns after them; the graph's, the ranks and then all.
    """
    if getattr(estimator, "_preprocessor", None) is None:
        return np.arange(estimator.n_features_in_, dtype=np.int64)
    native = np.asarray(estimator.is_categorical_, np.bool_)
    ranks = int(native.sum())
    return np.concatenate([np.arange(ranks), ranks + np.flatnonzero(~native)]).astype(np.int64)


def _numbers(estimator: Any, categories: Any) -> Floats:
    """The categories without the missing one, in the order of their ranks."""
    if not np.issubdtype(np.asarray(categories).dtype, np.number):
        raise ConfigurationError(
            f"{type(estimator).__name__} splits natively on categories that are no numbers, which cannot be compiled; "
            "category features of the model definition are numbers"
        )
    numbers = np.asarray(categories, np.float64)
    return numbers[~np.isnan(numbers)]


def _tree(predictor: Any, columns: Ints, ranked: Sequence[Ranked], target: int) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(np.bool_)
    true, false = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    missing_true = nodes["missing_go_to_left"].astype(np.bool_)
    threshold = nodes["num_threshold"].astype(np.float64)
    members: dict[int, Floats] = {}
    for node in np.flatnonzero((nodes["is_categorical"] != 0) & ~leaf).tolist():
        known = len(ranked[int(nodes["feature_idx"][node])].categories)
        left = _in_bitset(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]], known)
        if missing_true[node]:
            left, true[node], false[node] = ~left, false[node], true[node]
        if left.any():
            members[node] = np.flatnonzero(left).astype(np.float64)
        else:  # the operator knows no empty set: nothing is less than this
            threshold[node], missing_true[node] = -np.inf, False
    return Tree(
        leaf=leaf,
        feature=np.where(leaf, 0, columns[np.where(leaf, 0, nodes["feature_idx"])]),
        threshold=threshold,
        true=true,
        false=false,
        missing_true=missing_true,
        value=nodes["value"].astype(np.float64),
        members=members,
        target=target,
    )


def _in_bitset(words: Any, count: int) -> Any:
    """The first bits of 32-bit words, as flags."""
    ranks = np.arange(count)
    return (np.asarray(words, np.uint32)[ranks // 32] >> (ranks % 32).astype(np.uint32) & np.uint32(1)).astype(np.bool_)
