"""Decision trees, forests and gradient boosting as a graph that equals scikit-learn bit for bit.

These estimators round a row to float32 before they compare it with their float64 thresholds. The graph takes float64,
so each threshold is moved to the largest float64 that still rounds to something at most the threshold: rounding keeps
the order, hence ``float32(x) <= threshold`` exactly where ``x <= moved``. Sums run in the order of the trees; a forest
divides its sum at the end, boosting starts from its first guess and multiplies each leaf by the learning rate.

What the estimator refuses to score (infinities, numbers beyond float32, for some a missing value) gets no score here
either: further trees add nothing to a row that the estimator takes and NaN to any other, which becomes a dead letter.
"""
# ruff: noqa: SLF001  scikit-learn keeps the first guess in private methods; the parity gate watches over what is read

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Output, Task
from training.compile.ensemble import Flags, Tree, boosted_output, constant, graph_of

# Features that one tree of the domain looks at: 31 leaves, so that these trees are no larger than others.
DOMAIN_FEATURES = 15
_BEYOND_FLOAT32 = 2.0**128


def is_forest(estimator: Any) -> bool:
    """Whether this is an estimator that is compiled here; boosting not with a first guess by the user's estimator."""
    return type(estimator) in _averaging() | _single() or (
        type(estimator) in _boosting() and (estimator.init is None or estimator.init == "zero")
    )


def compile_forest(estimator: Any, task: Task) -> tuple[bytes, Output]:
    """The graph, and how to run it.

    Raises:
        ConfigurationError: the estimator has several outputs, or as many classes as the task does not have.
    """
    _check(estimator, task)
    features = int(estimator.n_features_in_)
    classes = len(estimator.classes_) if task is Task.MULTICLASS else 1
    if type(estimator) in _boosting():
        domain = [*_domain(features, missing=False)]
        graph = graph_of(_boosted(estimator), features, classes=classes, domain=domain)
        return graph, boosted_output(task, _link(estimator, task))
    grown = estimator.estimators_ if type(estimator) in _averaging() else [estimator]
    trees = [_averaged(one.tree_, task, target) for one in grown for target in range(classes)]
    domain = [*_domain(features, missing=bool(grown[0].__sklearn_tags__().input_tags.allow_nan))]
    divisor = len(grown) if type(estimator) in _averaging() else None
    graph = graph_of(trees, features, divisor, classes=classes, domain=domain)
    return graph, Output(task=task, link=Link.IDENTITY, exact=True)


def rounded_to_float32(thresholds: Floats) -> Floats:
    """For each threshold the largest float64 ``x`` with ``float32(x) <= threshold``, ties to even as IEEE 754 has it.

    Args:
        thresholds: any but NaN.
    """
    with np.errstate(over="ignore"):
        below = thresholds.astype(np.float32)
        below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf))
        # Half way between two neighbours: exact in float64. Beyond the largest the next would be 2 to the 128th.
        low = np.where(np.isneginf(below), -_BEYOND_FLOAT32, below.astype(np.float64))
        high = np.where(np.isposinf(above), _BEYOND_FLOAT32, above.astype(np.float64))
        middle = np.where(np.isposinf(below), np.inf, low / 2 + high / 2)
        moved: Floats = np.where(middle.astype(np.float32) <= below, middle, np.nextafter(middle, -np.inf))
    return moved


def _check(estimator: Any, task: Task) -> None:
    name = type(estimator).__name__
    if int(getattr(estimator, "n_outputs_", 1)) != 1:
        raise ConfigurationError(
            f"{name} predicts {estimator.n_outputs_} numbers; only models with one can be compiled"
        )
    classes = len(estimator.classes_) if hasattr(estimator, "classes_") else None
    fits = (classes or 0) > 2 if task is Task.MULTICLASS else classes == (2 if task is Task.BINARY else None)
    if not fits:
        raise ConfigurationError(
            f"{name} with {classes or 'no'} classes cannot be compiled for a {task.value} model: binary classification "
            "takes two classes, multi-class classification more, a regression none"
        )


def _boosted(estimator: Any) -> list[Tree]:
    first = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))
    rate = float(estimator.learning_rate)
    # The exponential loss's link takes twice the sum; doubling every part of it rounds nowhere else.
    factor = 2.0 if _link_name(estimator) == "HalfLogitLink" else 1.0
    trees = [constant(float(value) * factor, target) for target, value in enumerate(first[0])]
    for stage in estimator.estimators_:
        trees += [
            _tree(one.tree_, rate * one.tree_.value[:, 0, 0].astype(np.float64) * factor, target)
            for target, one in enumerate(stage)
        ]
    return trees


def _link(estimator: Any, task: Task) -> Link:
    links = {
        (Task.BINARY, "LogitLink"): Link.SIGMOID,
        (Task.BINARY, "HalfLogitLink"): Link.SIGMOID,
        (Task.REGRESSION, "IdentityLink"): Link.IDENTITY,
        (Task.MULTICLASS, "MultinomialLogit"): Link.SOFTMAX,
    }
    name = _link_name(estimator)
    if (task, name) not in links:
        raise ConfigurationError(
            f"{type(estimator).__name__} with the loss {estimator.loss!r} ({name}) cannot be compiled for a "
            f"{task.value} model"
        )
    return links[task, name]


def _link_name(estimator: Any) -> str:
    return type(estimator._loss.link).__name__


def _averaged(grown: Any, task: Task, target: int) -> Tree:
    """A tree of a forest: its leaves hold shares of classes, or a number.

    Each of several classes gets a tree of its own, because a leaf of the operator adds to one sum.
    """
    place = {Task.BINARY: 1, Task.MULTICLASS: target}.get(task, 0)
    tree = _tree(grown, grown.value[:, 0, place].astype(np.float64), target)
    return pruned(tree) if task is Task.MULTICLASS else tree


def pruned(tree: Tree) -> Tree:
    """The tree without splits that do not matter, since all leaves below them are equal: most are, class by class.

    Args:
        tree: each node stands before those that it leads to, as scikit-learn grows them.
    """
    leaf, value = _merged(tree)
    kept = _reached(tree, leaf)
    place = np.cumsum(kept) - 1
    return Tree(
        leaf=leaf[kept],
        feature=np.where(leaf, 0, tree.feature)[kept],
        threshold=np.where(leaf, 0.0, tree.threshold)[kept],
        true=np.where(leaf, 0, place[tree.true])[kept],
        false=np.where(leaf, 0, place[tree.false])[kept],
        missing_true=(tree.missing_true & ~leaf)[kept],
        value=value[kept],
        target=tree.target,
    )


def _merged(tree: Tree) -> tuple[Flags, Floats]:
    """Which nodes are leaves, or lead to equal ones only, and what is added there."""
    leaf, value, true, false = (each.tolist() for each in (tree.leaf, tree.value, tree.true, tree.false))
    for node in reversed(np.flatnonzero(~tree.leaf).tolist()):
        left, right = true[node], false[node]
        if leaf[left] and leaf[right] and value[left] == value[right]:
            leaf[node], value[node] = True, value[left]
    return np.array(leaf), np.array(value)


def _reached(tree: Tree, leaf: Flags) -> Flags:
    """Which nodes a way from the root still leads to."""
    found, true, false = [False] * len(leaf), tree.true.tolist(), tree.false.tolist()
    found[0] = True
    for node in np.flatnonzero(~leaf).tolist():
        if found[node]:
            found[true[node]] = found[false[node]] = True
    return np.array(found)


def _tree(grown: Any, value: Floats, target: int) -> Tree:
    """A tree of scikit-learn's own kind.

    Args:
        value: what each leaf adds, over all nodes.
        target: to which sum.
    """
    leaf = grown.children_left == -1
    return Tree(
        leaf=leaf,
        feature=np.where(leaf, 0, grown.feature).astype(np.int64),
        threshold=rounded_to_float32(np.where(leaf, 0.0, grown.threshold)),
        true=grown.children_left.astype(np.int64),
        false=grown.children_right.astype(np.int64),
        missing_true=grown.missing_go_to_left.astype(np.bool_) & ~leaf,
        value=value,
        target=target,
    )


def _domain(features: int, *, missing: bool) -> Iterator[Tree]:
    """Trees that give 0 for a row that the estimator takes, and NaN for any other.

    Args:
        missing: the estimator takes missing values.
    """
    largest = np.finfo(np.float32).max
    above, below = rounded_to_float32(np.array([np.float64(largest), -np.inf])).tolist()
    for start in range(0, features, DOMAIN_FEATURES):
        yield _within(range(start, min(features, start + DOMAIN_FEATURES)), above, below, missing=missing)


def _within(features: Sequence[int], above: float, below: float, *, missing: bool) -> Tree:
    """A chain: each feature is at most ``above``, and then not at most ``below``.

    Its nodes: two splits per feature one after the other, the leaf at the end of the chain, and a leaf beside each.
    """
    splits = 2 * len(features)
    nodes = np.arange(splits)
    upper = nodes % 2 == 0
    following, beside = nodes + 1, splits + 1 + nodes
    padding = np.zeros(splits + 1, np.int64)
    return Tree(
        leaf=np.arange(2 * splits + 1) >= splits,
        feature=np.concatenate([np.repeat(features, 2), padding]),
        threshold=np.concatenate([np.where(upper, above, below), padding]),
        true=np.concatenate([np.where(upper, following, beside), padding]),
        false=np.concatenate([np.where(upper, beside, following), padding]),
        missing_true=np.concatenate([upper & missing, padding.astype(np.bool_)]),
        value=np.concatenate([padding[1:], [0.0], np.full(splits, np.nan)]),
    )


def _averaging() -> set[type]:
    from sklearn import ensemble  # noqa: PLC0415

    return {
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
    }


def _single() -> set[type]:
    from sklearn import tree  # noqa: PLC0415

    return {
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeClassifier,
        tree.ExtraTreeRegressor,
    }


def _boosting() -> set[type]:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor  # noqa: PLC0415

    return {GradientBoostingClassifier, GradientBoostingRegressor}
