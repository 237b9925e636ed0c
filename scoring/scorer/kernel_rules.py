"""Operators whose kernels trust their attributes: trees, linear models and support vectors, held against their input.

ONNX Runtime reads ``row[feature]`` for whatever feature a tree names, follows references without counting steps, and
multiplies by as many coefficients as there should be. So sizes agree here, indices are in range, and trees are trees.
Attributes: ``ai.onnx.ml`` operators, versions 1 to 5.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from scoring.contract.errors import BundleRejected
from scoring.scorer.graph import Node, Tensor

MAXIMUM_TARGETS = 1_000
# Libraries that build their trees by recursion overflow their stack on a list that calls itself a tree.
MAXIMUM_DEPTH = 1_000
# Modes of TreeEnsemble: 0 to 5 compare with one number, 6 asks for membership in a set.
_MEMBER = 6
# A set with fewer members may become as many nodes in a row.
_LARGE_SET = 31
_LARGEST_MEMBER = 2**31 - 1
_MODES = {b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ", b"LEAF"}

Ints = npt.NDArray[np.int64]


class _Attributes:
    """A node's attributes with their types checked."""

    def __init__(self, node: Node) -> None:
        self.op = node.op
        self._found = node.attributes

    def refuse(self, sentence: str) -> BundleRejected:
        return BundleRejected(f"compiled model: {self.op}: {sentence}")

    def require(self, good: Any, sentence: str) -> None:
        if not good:
            raise self.refuse(sentence)

    def number(self, name: str, otherwise: int) -> int:
        value = self._found.get(name, otherwise)
        self.require(isinstance(value, int), f"{name} is no whole number")
        return int(value)

    def ints(self, name: str) -> Ints:
        value = self._found.get(name, np.zeros(0, np.int64))
        self.require(isinstance(value, np.ndarray) and value.dtype == np.int64, f"{name} are no whole numbers")
        return value  # type: ignore[no-any-return]

    def count(self, name: str) -> int:
        """How many values there are: of floats, strings or a tensor, whichever the attribute holds."""
        value = self._found.get(name)
        if isinstance(value, Tensor):
            self.require(len(value.dims) == 1, f"{name} has the dimensions {value.dims}")
            return value.dims[0]
        self.require(value is None or isinstance(value, (np.ndarray, list)), f"{name} is no list")
        return 0 if value is None else len(value)

    def counted(self, name: str) -> int:
        """Values that are floats, or a tensor under the name with ``_as_tensor``."""
        return self.count(name) or self.count(f"{name}_as_tensor")

    def strings(self, name: str) -> list[bytes]:
        value = self._found.get(name, [])
        self.require(isinstance(value, list), f"{name} are no texts")
        return value  # type: ignore[no-any-return]

    def has(self, name: str) -> bool:
        return name in self._found

    def bytes_tensor(self, name: str) -> npt.NDArray[Any]:
        value = self._found.get(name)
        if not isinstance(value, Tensor) or len(value.dims) != 1 or value.values.dtype != np.uint8:
            raise self.refuse(f"{name} is no list of bytes")
        return value.values

    def floats_tensor(self, name: str) -> npt.NDArray[Any]:
        value = self._found.get(name)
        if not isinstance(value, Tensor) or len(value.dims) != 1 or value.values.dtype.kind != "f":
            raise self.refuse(f"{name} is no list of floating-point numbers")
        return value.values

    def within(self, name: str, values: Ints, below: int) -> None:
        if len(values) and not (int(values.min()) >= 0 and int(values.max()) < below):
            wrong = int(values.min()) if int(values.min()) < 0 else int(values.max())
            raise self.refuse(f"{name} holds {wrong}, which is not in 0..{below - 1}")

    def as_many(self, count: int, **found: int) -> None:
        for name, length in found.items():
            self.require(length == count, f"there are {length} {name} for {count}")


def _tree_ensemble(node: Node, width: int) -> None:
    """``TreeEnsemble`` of version 5: inner nodes and leaves in lists of their own."""
    a = _Attributes(node)
    features, leaves = a.ints("nodes_featureids"), a.ints("leaf_targetids")
    inner, targets = len(features), a.number("n_targets", 1)
    a.require(inner and len(leaves), "there is no node or no leaf")
    a.require(1 <= targets <= MAXIMUM_TARGETS, f"n_targets is {targets}")
    sides = [(a.ints(f"nodes_{side}nodeids"), a.ints(f"nodes_{side}leafs")) for side in ("true", "false")]
    modes = a.bytes_tensor("nodes_modes")
    a.as_many(inner, nodes_splits=a.count("nodes_splits"), nodes_modes=len(modes))
    a.as_many(len(leaves), leaf_weights=a.count("leaf_weights"))
    for name in ("nodes_missing_value_tracks_true", "nodes_hitrates"):
        a.require(a.count(name) in {0, inner}, f"there are {a.count(name)} {name} for {inner} nodes")
    a.require(int(modes.max()) <= _MEMBER, f"mode {int(modes.max())} is not allowed")
    steps = np.ones(inner, np.int64)
    steps[modes == _MEMBER] = _steps_of_sets(a, int((modes == _MEMBER).sum()))
    a.within("nodes_featureids", features, width)
    a.within("leaf_targetids", leaves, targets)
    for ids, is_leaf in sides:
        a.as_many(inner, references=len(ids), leaf_marks=len(is_leaf))
        a.within("leaf marks", is_leaf, 2)
        a.within("references to leaves", ids[is_leaf == 1], len(leaves))
        a.within("references to nodes", ids[is_leaf == 0], inner)
    roots = a.ints("tree_roots")
    a.require(len(roots), "there is no root")
    a.within("tree_roots", roots, inner)
    # Such a root may be taken for a leaf itself, of the root's number, which need not be there.
    one_leaf = (
        np.logical_and.reduce([is_leaf[roots] == 1 for _, is_leaf in sides]) & (sides[0][0] == sides[1][0])[roots]
    )
    a.require(not one_leaf.any(), "both sides of a root are one leaf")
    children = np.stack([np.where(is_leaf == 0, ids, -1) for ids, is_leaf in sides], axis=1)
    _require_trees(a, roots, children, steps)


def _steps_of_sets(a: _Attributes, count: int) -> Ints:
    """How many nodes each set may become: ONNX Runtime writes a small one as a chain of comparisons.

    It looks for the largest member of each set, so an empty one, or none at all, makes it read what is not there.
    """
    values = a.floats_tensor("membership_values") if a.has("membership_values") else np.zeros(0)
    ends = np.flatnonzero(np.isnan(values))
    a.require(len(ends) == count and (not len(values) or np.isnan(values[-1])),
              f"there are {len(ends)} sets of membership_values for {count} nodes")  # fmt: skip
    sizes = np.diff(ends, prepend=-1) - 1
    a.require((sizes > 0).all(), "a set of membership_values is empty")
    known = values[~np.isnan(values)]
    whole = (np.abs(known) <= _LARGEST_MEMBER).all() and np.array_equal(known, np.round(known))
    a.require(whole, "membership_values are no whole numbers of 32 bits")
    ascending = np.diff(values) > 0 if len(values) else np.zeros(0, np.bool_)
    a.require(int(ascending.sum()) == int((sizes - 1).sum()), "membership_values are not ascending in their sets")
    return np.where(sizes < _LARGE_SET, sizes, 1)


def _classic_trees(prefix: str, classes: Callable[[_Attributes], int]) -> Callable[[Node, int], None]:
    """``TreeEnsembleRegressor`` and ``TreeEnsembleClassifier``: nodes are named by tree and number.

    Args:
        prefix: of the attributes that name the leaves' weights.
        classes: how many results there are.
    """

    def check(node: Node, width: int) -> None:
        a = _Attributes(node)
        trees, numbers, modes = a.ints("nodes_treeids"), a.ints("nodes_nodeids"), a.strings("nodes_modes")
        features = a.ints("nodes_featureids")
        true, false, count = a.ints("nodes_truenodeids"), a.ints("nodes_falsenodeids"), len(features)
        a.require(count, "there is no node")
        a.as_many(count, nodes_treeids=len(trees), nodes_nodeids=len(numbers), nodes_modes=len(modes),
                  nodes_truenodeids=len(true), nodes_falsenodeids=len(false),
                  nodes_values=a.counted("nodes_values"))  # fmt: skip
        for name in ("nodes_missing_value_tracks_true", "nodes_hitrates"):
            a.require(a.counted(name) in {0, count}, f"there are {a.counted(name)} {name} for {count} nodes")
        strange = set(modes) - _MODES
        a.require(not strange, f"mode {min(strange, default=b'')[:40]!r} is not allowed")
        results = classes(a)
        a.require(1 <= results <= MAXIMUM_TARGETS, f"there are {results} results")
        a.require(a.counted("base_values") in {0, 1, results}, "base_values are not as many as the results")
        a.within("nodes_featureids", features, width)
        a.within("nodes_treeids", trees, 2**31)
        a.within("nodes_nodeids", numbers, 2**31)
        places = _places(a, trees, numbers)
        inner = np.array([mode != b"LEAF" for mode in modes])
        children = np.full((count, 2), -1, np.int64)
        for side, ids in enumerate((true, false)):
            a.within("references to nodes", ids[inner], 2**31)
            children[inner, side] = places(trees[inner], ids[inner])
        starts = np.flatnonzero(np.diff(trees, prepend=-1))
        a.require(len(starts) == len(np.unique(trees)), "the nodes of a tree are not together")
        _require_trees(a, starts, children, np.ones(count, np.int64))
        weights = a.ints(f"{prefix}_ids")
        at = [a.ints(f"{prefix}_{part}") for part in ("treeids", "nodeids")]
        a.as_many(len(weights), weights=a.counted(f"{prefix}_weights"), treeids=len(at[0]), nodeids=len(at[1]))
        a.within(f"{prefix}_ids", weights, results)
        a.within(f"{prefix}_treeids", at[0], 2**31)
        a.within(f"{prefix}_nodeids", at[1], 2**31)
        places(at[0], at[1])

    return check


def _places(a: _Attributes, trees: Ints, numbers: Ints) -> Callable[[Ints, Ints], Ints]:
    """Finds nodes by tree and number."""
    keys = trees << 32 | numbers
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    a.require(len(keys) < 2 or (np.diff(ordered) > 0).all(), "two nodes have the same name")

    def find(tree: Ints, number: Ints) -> Ints:
        wanted = tree << 32 | number
        found = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        a.require((ordered[found] == wanted).all(), "a reference leads to a node that is not there")
        return order[found].astype(np.int64)

    return find


def _require_trees(a: _Attributes, roots: Ints, children: Ints, steps: Ints) -> None:
    """Nothing refers to a root, and one node at most to any other: then no way from a root comes round again.

    Args:
        children: per node, the places of the two nodes it leads to; -1 where that is a leaf.
        steps: per node, how much deeper it makes its tree.
    """
    count = len(steps)
    references = np.bincount(children[children >= 0], minlength=count) + np.bincount(roots, minlength=count)
    a.require(int(references.max()) <= 1, "two ways lead to one node, or a way leads back: these are no trees")
    level, depth = roots, steps[roots]
    while len(level):
        a.require(int(depth.max()) <= MAXIMUM_DEPTH, f"a tree is deeper than {MAXIMUM_DEPTH}")
        below = children[level]
        inner = below >= 0
        level, depth = below[inner], (depth[:, None] + steps[below])[inner]


def _linear_regressor(node: Node, width: int) -> None:
    a = _Attributes(node)
    targets = a.number("targets", 1)
    a.require(1 <= targets <= MAXIMUM_TARGETS, f"targets is {targets}")
    a.as_many(width * targets, coefficients=a.count("coefficients"))
    a.require(a.count("intercepts") in {0, targets}, "intercepts are not as many as the targets")


def _linear_classifier(node: Node, width: int) -> None:
    a = _Attributes(node)
    scores = a.count("intercepts")
    labels = max(a.count("classlabels_strings"), a.count("classlabels_ints"))
    a.require(1 <= scores <= MAXIMUM_TARGETS, f"there are {scores} intercepts")
    a.as_many(width * scores, coefficients=a.count("coefficients"))
    a.require(labels == scores or (scores == 1 and labels in {0, 2}), f"there are {labels} labels for {scores} scores")


def _svm_regressor(node: Node, width: int) -> None:
    a = _Attributes(node)
    vectors = a.number("n_supports", 0)
    a.require(0 <= vectors <= 10_000_000, f"n_supports is {vectors}")
    _svm_common(a, vectors, width, 1)
    a.as_many(vectors or width, coefficients=a.count("coefficients"))


def _svm_classifier(node: Node, width: int) -> None:
    a = _Attributes(node)
    per_class = a.ints("vectors_per_class")
    a.within("vectors_per_class", per_class, 10_000_000)
    vectors = int(per_class.sum())
    labels = max(a.count("classlabels_strings"), a.count("classlabels_ints"))
    a.require(2 <= labels <= MAXIMUM_TARGETS, f"there are {labels} labels")
    pairs = labels * (labels - 1) // 2
    _svm_common(a, vectors, width, pairs if vectors else 1)
    a.require(not vectors or len(per_class) == labels, "vectors_per_class are not as many as the labels")
    a.as_many((labels - 1) * vectors if vectors else labels * width, coefficients=a.count("coefficients"))
    for name in ("prob_a", "prob_b"):
        a.require(a.count(name) in ({0, pairs} if vectors else {0}), f"{name} are not as many as the pairs of labels")
    a.require(a.count("prob_a") == a.count("prob_b"), "prob_a and prob_b differ in length")


def _svm_common(a: _Attributes, vectors: int, width: int, offsets: int) -> None:
    a.as_many(vectors * width, support_vectors=a.count("support_vectors"))
    a.require(a.count("rho") >= offsets, f"there are {a.count('rho')} rho, at least {offsets} are needed")
    a.require(a.count("kernel_params") in {0, 3}, "kernel_params are not three")


def _labels(a: _Attributes) -> int:
    return max(a.count("classlabels_strings"), a.count("classlabels_int64s"))


CHECKS: Mapping[str, Callable[[Node, int], None]] = {
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "SVMClassifier": _svm_classifier,
    "SVMRegressor": _svm_regressor,
    "TreeEnsemble": _tree_ensemble,
    "TreeEnsembleClassifier": _classic_trees("class", _labels),
    "TreeEnsembleRegressor": _classic_trees("target", lambda a: a.number("n_targets", 1)),
}
