"""A compiled kernel that walks down the trees: for trees of any size, one record or many at a time (``trees.c``).

A node holds its split and the place of its first child; the second one follows. Before the walk a record becomes a
block of values, all of them whole numbers in the order of the floating-point ones, so that one comparison answers
every node: a number, with the smallest or largest of all for a missing one, as the node sends it; and for a node that
asks for membership, or sees a column through its ranks, the answer itself, looked up by where the number lies.

All of this is made by numpy for all trees at once, and checked before the library sees it: nothing of a bundle can
lead it outside of its tables.
"""

import ctypes
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats
from scoring.scorer import library
from scoring.scorer.ensemble import Ensemble, Flags, Ints, Model, Unsuitable, levels_of, model_of
from scoring.scorer.graph import Graph
from scoring.scorer.library import LANES
from scoring.scorer.trying import by_feature, thresholds_at, trying_rows

MAXIMUM_DEPTH = 1_000
MAXIMUM_ANSWER_BYTES = 64 * 2**20
_LARGEST, _SMALLEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_NODE = np.dtype([("split", np.int64), ("value", np.uint32), ("child", np.uint32)])


class Lookup(msgspec.Struct, frozen=True, eq=False):
    """What some nodes answer about one column.

    Attributes:
        thresholds: where the answers change, ascending.
        answers: of shape (thresholds + 2, nodes): 0 leads to the true side. A row for each interval that ends at a
            threshold, for what is above all of them, and for missing values.
    """

    column: int
    thresholds: Floats
    answers: npt.NDArray[np.uint8]


class Tables(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What ``walk_t`` describes.

    Attributes:
        nodes: ``node_t``; a leaf leads to itself.
        weights: by node; those of inner nodes are never read.
        roots, depths: by tree, twice the root's number, and the steps to its deepest leaf.
        columns, missing: by plain value, its column, and the key that stands for a missing number.
        features: columns of the matrix.
    """

    nodes: npt.NDArray[Any]
    weights: Floats
    roots: npt.NDArray[np.uint32]
    depths: npt.NDArray[np.uint32]
    columns: Ints
    missing: Ints
    lookups: tuple[Lookup, ...]
    features: int

    @property
    def values(self) -> int:
        """The numbers of a record's block."""
        return len(self.columns) + sum(int(lookup.answers.shape[1]) for lookup in self.lookups)


class Walk:
    """Runs a graph of trees: a float64 ``TreeEnsemble`` (``ai.onnx.ml`` 5) with one target (see ``model_of``).

    Args:
        graph: checked before, so that every tree is one.

    Attributes:
        faster_from: from so many records on it is faster than ONNX Runtime.

    Raises:
        Unsuitable: it is something else, or too large.
    """

    name = "compiled"
    faster_from: int | None = 1

    def __init__(self, graph: Graph, compiled: ctypes.CDLL) -> None:
        model = model_of(graph)
        self.tables = tables_of(model, graph.inputs[0].dims)
        check(self.tables)
        self._run = compiled.walk
        self._columns = self.tables.features
        self._kept, self._described = _described(self.tables, model.divisor)
        self._address = ctypes.addressof(self._described)

    def run(self, matrix: Floats) -> Floats:
        """Raw scores of shape (rows,) for a float64 matrix of shape (rows, features)."""
        return library.call(self._run, self._address, matrix, self._columns)

    def trying_rows(self, features: int, rows: int) -> Floats:
        """Rows that a wrong kernel would score wrongly (see ``trying_rows``)."""
        plain = (self.tables.nodes["split"] != _LARGEST) & (
            self.tables.nodes["value"] < LANES * len(self.tables.columns)
        )
        nodes, found = self.tables.nodes[plain], []
        for column, places in by_feature(self.tables.columns[nodes["value"] // LANES]).items():
            found.append((column, np.unique(_numbers(nodes["split"][places]))))
        found += [(lookup.column, lookup.thresholds) for lookup in self.tables.lookups]
        return trying_rows(found, features, rows)


def tables_of(model: Model, dims: tuple[int | None, ...] | None) -> Tables:
    """The tables of a model whose rows have such dimensions.

    Raises:
        Unsuitable: they would be too large, or the columns are not told.
    """
    if dims is None or len(dims) != 2 or dims[1] is None:
        raise Unsuitable("its columns are not told")
    ensemble = model.ensemble
    levels = levels_of(ensemble, ensemble.roots, MAXIMUM_DEPTH)
    trees = np.concatenate([trees for _, trees in levels])
    order = np.argsort(trees, kind="stable")  # a tree's nodes stand together, those near its root first
    node, trees = np.concatenate([nodes for nodes, _ in levels])[order], trees[order]
    depths = np.zeros(len(ensemble.roots), np.uint32)
    for depth, (_, reached) in enumerate(levels, 1):
        depths[reached] = depth
    values, columns, missing, lookups = _values(model, node)
    nodes, weights, roots = _packed(ensemble, node, trees, values)
    return Tables(
        nodes=nodes,
        weights=weights,
        roots=roots,
        depths=depths,
        columns=columns,
        missing=missing,
        lookups=lookups,
        features=dims[1],
    )


def check(tables: Tables) -> None:
    """Everything that the library indexes by.

    Raises:
        Unsuitable: something would lead it outside of the tables.
    """
    if not all(array.flags.c_contiguous and array.dtype == kind for array, kind in _layouts(tables)):
        raise Unsuitable("its tables lead outside of themselves: they are of another layout")
    count, trees, end = len(tables.nodes), len(tables.roots), LANES * tables.values
    child, value = tables.nodes["child"].astype(np.int64), tables.nodes["value"].astype(np.int64)
    second = np.where(tables.nodes["split"] == _LARGEST, child, child + 2)  # nothing is above the largest
    good = {
        "lengths": 0 < trees == len(tables.depths) and 0 < count == len(tables.weights) and 0 < end < 2**32,
        "children": bool((child % 2 == 0).all()) and int(second.max(initial=0)) < 2 * count,
        "values": bool((value % LANES == 0).all()) and int(value.max(initial=0)) < end,
        "roots": bool((tables.roots % 2 == 0).all()) and int(tables.roots.max(initial=0)) < 2 * count,
        "depths": int(tables.depths.max(initial=0)) <= MAXIMUM_DEPTH,
        "columns": len(tables.columns) == len(tables.missing) and _within(tables.columns, tables.features),
        "lookups": all(_is_lookup(lookup, tables.features) for lookup in tables.lookups),
    }
    if not all(good.values()):
        raise Unsuitable(f"its tables lead outside of themselves: {[name for name, fine in good.items() if not fine]}")


def _layouts(tables: Tables) -> list[tuple[npt.NDArray[Any], npt.DTypeLike]]:
    found: list[tuple[npt.NDArray[Any], npt.DTypeLike]] = [
        (tables.nodes, _NODE),
        (tables.weights, np.float64),
        (tables.roots, np.uint32),
        (tables.depths, np.uint32),
        (tables.columns, np.int64),
        (tables.missing, np.int64),
    ]
    for lookup in tables.lookups:
        found += [(lookup.thresholds, np.float64), (lookup.answers, np.uint8)]
    return found


def _is_lookup(lookup: Lookup, features: int) -> bool:
    rows = len(lookup.thresholds) + 2
    return lookup.answers.ndim == 2 and len(lookup.answers) == rows > 2 and 0 <= lookup.column < features


def _within(numbers: Ints, below: int) -> bool:
    return not len(numbers) or (int(numbers.min()) >= 0 and int(numbers.max()) < below)


def _packed(ensemble: Ensemble, node: Ints, trees: Ints, values: tuple[Ints, Ints]) -> tuple[Any, Floats, Any]:
    """Nodes, weights and roots.

    Args:
        node, trees: the inner nodes, tree by tree, and the tree of each.
        values: what each compares: a place in the block, and a key.
    """
    inner = np.bincount(trees, minlength=len(ensemble.roots))
    roots = 2 * (np.cumsum(inner) - inner) + np.arange(len(inner))  # a tree of n inner nodes has n + 1 leaves
    first = roots[trees] + 1 + 2 * (np.arange(len(node)) - (np.cumsum(inner) - inner)[trees])
    count = 2 * len(node) + len(inner)
    if count >= 2**31:
        raise Unsuitable(f"it has {count} nodes")
    place, weights = np.zeros(len(ensemble.features), np.int64), np.zeros(count)
    place[ensemble.roots] = roots
    for side, second in ((ensemble.true, 0), (ensemble.false, 1)):
        leaf, ids = side.leaf[node], side.ids[node]
        place[ids[~leaf]] = first[~leaf] + second
        weights[first[leaf] + second] = ensemble.weights[ids[leaf]]
    nodes = np.empty(count, _NODE)
    nodes["split"], nodes["value"], nodes["child"] = _LARGEST, 0, 2 * np.arange(count)
    at = place[node]
    nodes["value"][at], nodes["split"][at], nodes["child"][at] = LANES * values[0], values[1], 2 * first
    return nodes, weights, (2 * roots).astype(np.uint32)


def _values(model: Model, node: Ints) -> tuple[tuple[Ints, Ints], Ints, Ints, tuple[Lookup, ...]]:
    """What each node compares; the columns of the plain values, what stands for missing ones; and the lookups."""
    ensemble, ranks = model.ensemble, len(model.ranks)
    feature = ensemble.features[node]
    looked = ensemble.asks[node] | (feature < ranks)
    code, plain = np.unique(2 * feature[~looked] + ensemble.missing_true[node[~looked]], return_inverse=True)
    place, split = np.zeros(len(node), np.int64), np.zeros(len(node), np.int64)
    place[~looked], split[~looked] = plain, _keys(ensemble.splits[node[~looked]])
    taken, lookups = len(code), []
    for found in np.unique(feature[looked]).tolist():
        of = np.flatnonzero(looked & (feature == found))
        lookups.append(_lookup(model, found, node[of]))
        place[of] = taken + np.arange(len(of))
        taken += len(of)
    return (place, split), code // 2 - ranks, np.where(code % 2, _SMALLEST, _LARGEST), tuple(lookups)


def _keys(numbers: Floats) -> Ints:
    """Whole numbers in the order of the floating-point ones; both zeros are one."""
    bits = (numbers + 0.0).view(np.int64)
    return bits ^ ((bits >> 63) & _LARGEST)


def _numbers(keys: Ints) -> Floats:
    """What the keys were made of."""
    return (keys ^ ((keys >> 63) & _LARGEST)).view(np.float64)


def _lookup(model: Model, feature: int, nodes: Ints) -> Lookup:
    ensemble = model.ensemble
    if feature < len(model.ranks):
        ranks = model.ranks[feature]
        column, thresholds, numbers = ranks.column, ranks.thresholds, ranks.numbers
    else:
        column = feature - len(model.ranks)
        thresholds = thresholds_at(ensemble, nodes)
        numbers = np.concatenate([thresholds, [np.inf, np.nan]])
    if len(nodes) * len(numbers) > MAXIMUM_ANSWER_BYTES:
        raise Unsuitable(f"its sets make tables of {len(nodes) * len(numbers) / 2**20:.0f} MiB")
    true = np.empty((len(nodes), len(numbers)), np.bool_)
    asks = ensemble.asks[nodes]
    compared = nodes[~asks]
    true[~asks] = np.where(
        np.isnan(numbers), ensemble.missing_true[compared, None], numbers <= ensemble.splits[compared, None]
    )
    true[asks] = _members(ensemble.members_of(nodes[asks]), numbers)
    return Lookup(column, thresholds, np.ascontiguousarray(~true.T).view(np.uint8))


def _members(sets: list[Floats], numbers: Floats) -> Flags:
    """Of shape (sets, numbers): whether a number is in a set."""
    known, which = np.unique(numbers, return_inverse=True)
    found = np.zeros((len(sets), len(known)), np.bool_)
    if sets:
        owner, members = np.repeat(np.arange(len(sets)), [len(each) for each in sets]), np.concatenate(sets)
        place = np.minimum(np.searchsorted(known, members), len(known) - 1)
        there = known[place] == members
        found[owner[there], place[there]] = True
    return found[:, which]


def _described(tables: Tables, divisor: float | None) -> tuple[list[npt.NDArray[Any]], library.WalkTables]:
    """The structure, and the arrays whose addresses it holds."""
    lookups = tables.lookups
    thresholds, answers = [lookup.thresholds for lookup in lookups], [lookup.answers for lookup in lookups]
    arrays = {
        "nodes": tables.nodes,
        "weights": tables.weights,
        "roots": tables.roots,
        "depths": tables.depths,
        "columns": tables.columns,
        "missing": tables.missing,
        "of": np.array([lookup.column for lookup in lookups], np.int64),
        "counts": np.array([*map(len, thresholds)], np.int64),
        "answers": np.array([table.shape[1] for table in answers], np.int64),
        "thresholds": library.addresses(thresholds),
        "tables": library.addresses(answers),
    }
    described = library.WalkTables(
        values=len(tables.columns), lookups=len(lookups), trees=len(tables.roots),
        divisor=1.0 if divisor is None else divisor, **{name: array.ctypes.data for name, array in arrays.items()},
    )  # fmt: skip
    return [*arrays.values(), *thresholds, *answers], described
