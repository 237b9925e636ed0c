"""The trees of a graph as arrays, for a kernel: what each split asks, and which leaves are on its two sides.

Everything here is done for all trees at once, level by level, by numpy: it runs beside the thread that scores.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats
from scoring.scorer.graph import DOUBLE, Graph, Node

_SUM, _NO_TRANSFORM, _LESS_OR_EQUAL, _MEMBER = 1, 0, 0, 6
# Of the trees that replace columns: 255 categories make 511 leaves.
MAXIMUM_RANK_DEPTH = 64

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Unsuitable(Exception):
    """A kernel cannot run a graph, so ONNX Runtime does; the message says why."""


class Sides(msgspec.Struct, frozen=True, eq=False):
    """Where the nodes lead on one side: to a leaf of that number, or to a node."""

    ids: Ints
    leaf: Flags


class Ensemble(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A ``TreeEnsemble`` of ``ai.onnx.ml`` 5 that adds its leaves; arrays over its inner nodes.

    Attributes:
        splits: of a node that compares: ``row[feature] <= split`` leads to the true side.
        asks: whether a node asks for membership instead.
        members: the sets of those nodes one behind the other, in their order; ``set_ends`` says where each ends.
        weights, targets: by leaf, its number and the sum that it belongs to.
    """

    roots: Ints
    features: Ints
    splits: Floats
    missing_true: Flags
    true: Sides
    false: Sides
    weights: Floats
    targets: Ints
    asks: Flags
    members: Floats
    set_ends: Ints

    def members_of(self, nodes: Ints) -> list[Floats]:
        """The sets of nodes that ask for membership."""
        number = np.cumsum(self.asks)[nodes] - 1
        starts = np.concatenate([[0], self.set_ends[:-1] + 1]) if len(self.set_ends) else self.set_ends
        ends = self.set_ends[number].tolist()
        return [self.members[start:end] for start, end in zip(starts[number].tolist(), ends, strict=True)]


class Splits(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Inner nodes with their trees and leaves, which are numbered from the true side to the false one of each tree.

    Attributes:
        node, tree: their numbers.
        first, middle, last: leaves from first on are on the true side, from middle on up to last on the false one.
    """

    node: Ints
    tree: Ints
    first: Ints
    middle: Ints
    last: Ints

    def at(self, places: Any) -> "Splits":
        """Some of them, by their places or by a flag for each."""
        return Splits(
            node=self.node[places],
            tree=self.tree[places],
            first=self.first[places],
            middle=self.middle[places],
            last=self.last[places],
        )

    def leaves_of_tree(self, trees: int) -> Ints:
        """How many leaves each tree has."""
        found = np.zeros(trees, np.int64)
        np.maximum.at(found, self.tree, self.last)
        return found


def splits_of(ensemble: Ensemble, maximum_leaves: int) -> Splits:
    """Every split of every tree.

    Raises:
        Unsuitable: a tree has more leaves.
    """
    levels = levels_of(ensemble, ensemble.roots, maximum_leaves)
    left, count, first = (np.zeros(len(ensemble.features), np.int64) for _ in range(3))
    for nodes, _ in reversed(levels):
        on_true, on_false = (_leaves_on(side, nodes, count) for side in (ensemble.true, ensemble.false))
        left[nodes], count[nodes] = on_true, on_true + on_false
    most = int(count[ensemble.roots].max())
    if most > maximum_leaves:
        raise Unsuitable(f"a tree has {most} leaves")
    for nodes, _ in levels:
        for side, begin in ((ensemble.true, first[nodes]), (ensemble.false, first[nodes] + left[nodes])):
            inner = ~side.leaf[nodes]
            first[side.ids[nodes[inner]]] = begin[inner]
    node = np.concatenate([nodes for nodes, _ in levels])
    begins = first[node]
    return Splits(
        node=node,
        tree=np.concatenate([trees for _, trees in levels]),
        first=begins,
        middle=begins + left[node],
        last=begins + count[node],
    )


def levels_of(ensemble: Ensemble, roots: Ints, maximum: int) -> list[tuple[Ints, Ints]]:
    """The inner nodes by their distance from the root, and the tree of each.

    Raises:
        Unsuitable: a tree is deeper, or two ways lead to one node: none comes round again, whoever looked before.
    """
    found: list[tuple[Ints, Ints]] = []
    nodes, trees, met = roots, np.arange(len(roots), dtype=np.int64), np.zeros(len(ensemble.features), np.bool_)
    while len(nodes):
        if len(found) >= maximum:  # a tree that deep has more leaves than that
            raise Unsuitable(f"a tree has more than {maximum} leaves")
        if met[nodes].any() or len(np.unique(nodes)) < len(nodes):
            raise Unsuitable("its nodes are no trees")
        met[nodes] = True
        found.append((nodes, trees))
        sides = (ensemble.true, ensemble.false)
        inner = [~side.leaf[nodes] for side in sides]
        below = [side.ids[nodes[there]] for side, there in zip(sides, inner, strict=True)]
        nodes, trees = np.concatenate(below), np.concatenate([trees[there] for there in inner])
    return found


def _leaves_on(side: Sides, nodes: Ints, count: Ints) -> Ints:
    leaf = side.leaf[nodes]
    found: Ints = np.where(leaf, 1, count[np.where(leaf, 0, side.ids[nodes])])
    return found


class Ranks(msgspec.Struct, frozen=True, eq=False):
    """A column that a tree replaces by other numbers before the ensemble sees it.

    Attributes:
        thresholds: where the numbers change, ascending.
        numbers: for each interval that ends at a threshold, for what is above all of them, and for missing values.
    """

    column: int
    thresholds: Floats
    numbers: Floats


class Model(msgspec.Struct, frozen=True, eq=False):
    """A graph of trees.

    Attributes:
        ranks: the ensemble's first features; then follow all columns of the row.
        divisor: the ensemble's sum is divided by it.
    """

    ensemble: Ensemble
    ranks: tuple[Ranks, ...]
    divisor: float | None


def model_of(graph: Graph, targets: int = 1) -> Model:
    """The trees of a graph that is one ``TreeEnsemble`` in float64 with so many targets.

    There may be one before it that replaces columns by other numbers, and a division by one number after it.

    Raises:
        Unsuitable: it is something else.
    """
    nodes = [*graph.nodes]
    ranks: tuple[Ranks, ...] = ()
    divisor: float | None = None
    if nodes and nodes[-1].op == "Div":
        divisor = _divisor(graph, nodes.pop())
    if len(nodes) == 3:
        ranks = _ranks(nodes[0], nodes[1])
        del nodes[:2]
    if len(nodes) != 1 or nodes[0].op != "TreeEnsemble":
        raise Unsuitable("it is not one TreeEnsemble")
    if nodes[0].attributes.get("n_targets") != targets:
        raise Unsuitable("it has another number of targets")
    _check_chain(graph, ranked=bool(ranks))
    return Model(_ensemble(nodes[0]), ranks, divisor)


def _check_chain(graph: Graph, *, ranked: bool) -> None:
    """Each node takes what the one before it gave, and the first takes the row."""
    row = graph.inputs[0].name
    taken = [row, *(node.outputs[0] for node in graph.nodes)]
    for place, node in enumerate(graph.nodes):
        second = node.inputs[1] if len(node.inputs) > 1 else None
        if node.inputs[0] != taken[place] or (ranked and place == 1 and second != row):
            raise Unsuitable("its nodes do not follow each other")


def _ensemble(node: Node) -> Ensemble:
    found = node.attributes
    plain = (found.get("aggregate_function", _SUM), found.get("post_transform", _NO_TRANSFORM))
    if plain != (_SUM, _NO_TRANSFORM):
        raise Unsuitable("it does more than add leaves")
    modes = found["nodes_modes"].values
    splits, asks = _doubles(found, "nodes_splits"), modes == _MEMBER
    if np.any((modes != _LESS_OR_EQUAL) & ~asks) or np.any(np.isnan(splits)):
        raise Unsuitable("it compares otherwise than by <=")
    members = _doubles(found, "membership_values") if asks.any() else np.zeros(0)
    tracks = found.get("nodes_missing_value_tracks_true", np.zeros(len(splits), np.int64))
    if np.any(asks & (tracks != 0)):
        raise Unsuitable("a missing value counts as a member of a set")
    return Ensemble(
        roots=found["tree_roots"],
        features=found["nodes_featureids"],
        splits=splits,
        missing_true=tracks != 0,
        true=Sides(found["nodes_truenodeids"], found["nodes_trueleafs"] != 0),
        false=Sides(found["nodes_falsenodeids"], found["nodes_falseleafs"] != 0),
        weights=_doubles(found, "leaf_weights"),
        targets=found["leaf_targetids"],
        asks=asks,
        members=members,
        set_ends=np.flatnonzero(np.isnan(members)),
    )


def _ranks(trees: Node, joined: Node) -> tuple[Ranks, ...]:
    together = (trees.op, joined.op, joined.attributes.get("axis"), len(joined.inputs)) == (
        "TreeEnsemble",
        "Concat",
        1,
        2,
    )
    if not together:
        raise Unsuitable("it is not one TreeEnsemble")
    ensemble = _ensemble(trees)
    if len(ensemble.roots) != trees.attributes.get("n_targets"):
        raise Unsuitable("a column is replaced by more than one tree")
    return tuple(_replaced(ensemble, target, int(root)) for target, root in enumerate(ensemble.roots))


def _replaced(ensemble: Ensemble, target: int, root: int) -> Ranks:
    """What one tree makes of one column."""
    nodes = np.concatenate([found for found, _ in levels_of(ensemble, np.array([root]), MAXIMUM_RANK_DEPTH)])
    leaves = np.concatenate([side.ids[nodes[side.leaf[nodes]]] for side in (ensemble.true, ensemble.false)])
    columns = np.unique(ensemble.features[nodes])
    if len(columns) > 1 or ensemble.asks[nodes].any() or np.any(ensemble.targets[leaves] != target):
        raise Unsuitable("a column is replaced by more than its own value says")
    thresholds = np.unique(ensemble.splits[nodes])
    values = np.concatenate([thresholds, [np.inf, np.nan]])
    return Ranks(int(columns[0]), thresholds, _walked(ensemble, root, values))


def _walked(ensemble: Ensemble, root: int, values: Floats) -> Floats:
    """The leaf that each value of the one feature of a tree comes to."""
    place, leaf = np.full(len(values), root, np.int64), np.zeros(len(values), np.bool_)
    while not leaf.all():
        node = np.where(leaf, 0, place)
        true = np.where(np.isnan(values), ensemble.missing_true[node], values <= ensemble.splits[node])
        to = np.where(true, ensemble.true.ids[node], ensemble.false.ids[node])
        at_leaf = np.where(true, ensemble.true.leaf[node], ensemble.false.leaf[node])
        place, leaf = np.where(leaf, place, to), leaf | at_leaf
    found: Floats = ensemble.weights[place]
    return found


def _doubles(found: Any, name: str) -> Floats:
    tensor = found[name]
    if tensor.data_type != DOUBLE:
        raise Unsuitable(f"{name} is not in float64")
    values: Floats = tensor.values
    return values


def _divisor(graph: Graph, node: Node) -> float:
    by = graph.initializers.get(node.inputs[1]) if len(node.inputs) == 2 else None
    if by is None or by.dims not in {(), (1,)} or by.data_type != DOUBLE:
        raise Unsuitable("it does not divide by one number in float64")
    return float(by.values[0])
