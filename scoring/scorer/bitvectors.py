"""An exact kernel for tree ensembles in numpy: every tree's leaf by ANDing bit vectors, many records at a time.

For each feature a table says, for each interval between the ensemble's thresholds, which leaves of each tree a value
there still allows; the AND over all features leaves one bit per tree. Nothing is approximated: thresholds are compared
in float64 as ONNX Runtime does, and leaves are added in the order of the trees, so scores are equal bit for bit. After
QuickScorer (Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
trees", SIGIR 2015), with both sides of every split in the table, so that nothing depends on the order of the features.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats
from scoring.scorer.graph import DOUBLE, Graph

# Above this the tables no longer stay in a core's cache, and what they cost to build is felt at each swap.
MAXIMUM_TABLE_BYTES = 32 * 2**20
MAXIMUM_LEAVES = 64
# Records at a time: the vectors of one feature then stay in the core's second cache.
BLOCK_ROWS = 256
_SUM, _NO_TRANSFORM, _LESS_OR_EQUAL = 1, 0, 0


class Unsuitable(Exception):
    """The kernel cannot run a graph, so ONNX Runtime does; the message says why."""


class _Feature(msgspec.Struct, frozen=True, eq=False):
    """The table of one feature: row ``i`` holds for values above ``i`` thresholds, the last row for missing ones."""

    column: int
    thresholds: Floats
    table: npt.NDArray[Any]


class BitVectors:
    """Runs a graph that is one float64 ``TreeEnsemble`` (``ai.onnx.ml`` 5) with a single target.

    Args:
        graph: checked before, so that its references are in range and every tree is one.

    Raises:
        Unsuitable: it is something else, or too large.
    """

    def __init__(self, graph: Graph) -> None:
        attributes = _attributes(graph)
        trees = [list(_walk(attributes, int(root))) for root in attributes["tree_roots"]]
        leaves = max(sum(step.leaf is not None for step in tree) for tree in trees)
        if leaves > MAXIMUM_LEAVES:
            raise Unsuitable(f"a tree has {leaves} leaves")
        self._word: np.dtype[Any] = np.dtype(np.uint32 if leaves <= 32 else np.uint64)
        self._all = self._word.type(2 ** (8 * self._word.itemsize) - 1)
        self._trees = len(trees)
        self._leaves = np.zeros((len(trees), 8 * self._word.itemsize))
        self._features = self._tables(attributes, trees)
        self._first = (np.arange(self._trees, dtype=np.intp) * self._leaves.shape[1])[:, None]

    def run(self, matrix: Floats) -> Floats:
        """Raw scores of shape (rows,) for a float64 matrix of shape (rows, features)."""
        scores = np.empty(len(matrix))
        for start in range(0, len(matrix), BLOCK_ROWS):
            scores[start : start + BLOCK_ROWS] = self._block(matrix[start : start + BLOCK_ROWS])
        return scores

    def trying_rows(self, features: int, rows: int) -> Floats:
        """Rows that a wrong kernel would score wrongly: on, next to and between thresholds, missing, infinite."""
        random = np.random.default_rng(0)
        matrix = np.zeros((rows, features))
        for feature in self._features:
            near = feature.thresholds[random.integers(0, len(feature.thresholds), rows)]
            choices = [near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)]
            choices += [np.full(rows, odd) for odd in (np.nan, np.inf, -np.inf)]
            matrix[:, feature.column] = np.choose(random.integers(0, len(choices), rows), choices)
        return matrix

    def _block(self, matrix: Floats) -> Floats:
        allowed = np.full((len(matrix), self._trees), self._all)
        for feature in self._features:
            values = np.ascontiguousarray(matrix[:, feature.column])
            rows = np.searchsorted(feature.thresholds, values)  # NaN sorts last: the row of the largest values …
            rows[np.isnan(values)] = len(feature.thresholds) + 1  # … and is moved on to its own
            np.bitwise_and(allowed, feature.table.take(rows, axis=0), out=allowed)
        allowed -= self._word.type(1)
        exits = np.bitwise_count(allowed).T + self._first  # below the one bit that is left: the leaf's number
        return _added(self._leaves.ravel().take(exits))

    def _tables(self, attributes: Mapping[str, Any], trees: list[list["_Step"]]) -> list[_Feature]:
        columns, splits = attributes["nodes_featureids"], attributes["nodes_splits"]
        used = np.unique(np.array([columns[step.node] for tree in trees for step in tree if step.leaf is None]))
        features = [self._empty(int(column), np.unique(splits[columns == column])) for column in used]
        size = sum(feature.table.nbytes for feature in features)
        if size > MAXIMUM_TABLE_BYTES:
            raise Unsuitable(f"its tables have {size / 2**20:.0f} MiB")
        by_column = {feature.column: feature for feature in features}
        for number, tree in enumerate(trees):
            self._enter(number, tree, by_column, attributes)
        return features

    def _empty(self, column: int, thresholds: Floats) -> _Feature:
        rows = len(thresholds) + 2
        if rows * self._trees * self._word.itemsize > MAXIMUM_TABLE_BYTES:
            raise Unsuitable(f"feature {column} has {len(thresholds)} thresholds")
        return _Feature(column, thresholds, np.full((rows, self._trees), self._all))

    def _enter(
        self, number: int, tree: list["_Step"], features: Mapping[int, _Feature], attributes: Mapping[str, Any]
    ) -> None:
        word, weights = self._word.type, attributes["leaf_weights"]
        missing_to_true = attributes["nodes_missing_value_tracks_true"]
        leaves = [step for step in tree if step.leaf is not None]
        for place, step in enumerate(leaves):
            self._leaves[number, place] = weights[step.leaf]
        whole = (1 << len(leaves)) - 1
        for step in tree:
            if step.leaf is not None:
                continue
            feature = features[int(attributes["nodes_featureids"][step.node])]
            last_true = int(np.searchsorted(feature.thresholds, attributes["nodes_splits"][step.node]))
            column = feature.table[:, number]
            column[: last_true + 1] &= word(whole & ~step.false_leaves)
            column[last_true + 1 : -1] &= word(whole & ~step.true_leaves)
            column[-1] &= word(whole & ~(step.false_leaves if missing_to_true[step.node] else step.true_leaves))


def _added(leaves: Floats) -> Floats:
    """The sum over the trees, one after the other, as the reference adds them.

    numpy adds whole rows in their order; a single column it would add pairwise.
    """
    several = leaves.shape[1] > 1
    found: Floats = np.add.reduce(leaves, axis=0) if several else np.add.accumulate(leaves, axis=0)[-1]
    return found


class _Step(msgspec.Struct, frozen=True):
    """A node of a tree: a leaf with the number of its weight, or a split with the leaves on its two sides as bits."""

    node: int
    leaf: int | None = None
    true_leaves: int = 0
    false_leaves: int = 0


def _walk(attributes: Mapping[str, Any], root: int) -> Iterator[_Step]:
    """The nodes of one tree, leaves in the order of their bits; iterative, for a tree may be one long chain."""
    true, true_is_leaf = attributes["nodes_truenodeids"], attributes["nodes_trueleafs"]
    false, false_is_leaf = attributes["nodes_falsenodeids"], attributes["nodes_falseleafs"]
    stack: list[tuple[int, bool, int, int | None]] = [(root, False, 0, None)]  # node, is leaf, first bit, second bit
    bits = 0
    while stack:
        node, is_leaf, first, middle = stack.pop()
        if is_leaf:
            yield _Step(node=-1, leaf=node)
            bits += 1
            if bits > MAXIMUM_LEAVES:
                raise Unsuitable(f"a tree has more than {MAXIMUM_LEAVES} leaves")
        elif middle is None:  # now its true side; come back between the two sides
            stack.append((node, False, bits, -1))
            stack.append((int(true[node]), bool(true_is_leaf[node]), 0, None))
        elif middle < 0:
            stack.append((node, False, first, bits))
            stack.append((int(false[node]), bool(false_is_leaf[node]), 0, None))
        else:
            yield _Step(node, None, (1 << middle) - (1 << first), (1 << bits) - (1 << middle))


def _attributes(graph: Graph) -> dict[str, Any]:
    if len(graph.nodes) != 1 or (graph.nodes[0].domain, graph.nodes[0].op) != ("ai.onnx.ml", "TreeEnsemble"):
        raise Unsuitable("it is not one TreeEnsemble")
    node = graph.nodes[0]
    found = dict(node.attributes)
    plain = (found.get("aggregate_function", _SUM), found.get("post_transform", _NO_TRANSFORM), found.get("n_targets"))
    if plain != (_SUM, _NO_TRANSFORM, 1) or "membership_values" in found:
        raise Unsuitable("it does more than add the leaves of one target")
    for name in ("nodes_splits", "leaf_weights", "nodes_modes"):
        tensor = found[name]
        if name != "nodes_modes" and tensor.data_type != DOUBLE:
            raise Unsuitable(f"{name} is not in float64")
        found[name] = tensor.values
    if np.any(found["nodes_modes"] != _LESS_OR_EQUAL) or np.any(np.isnan(found["nodes_splits"])):
        raise Unsuitable("it compares otherwise than by <=")
    nodes = len(found["nodes_splits"])
    found.setdefault("nodes_missing_value_tracks_true", np.zeros(nodes, np.int64))
    return found
