"""An exact kernel for tree ensembles in numpy: every tree's leaf by ANDing bit vectors, many records at a time.

For each feature a table says, for each interval between the ensemble's thresholds, which leaves of each tree a value
there still allows; the AND over all features leaves one bit per tree. Nothing is approximated: thresholds are compared
in float64 as ONNX Runtime does, and leaves are added in the order of the trees, so scores are equal bit for bit. After
QuickScorer (Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
trees", SIGIR 2015), with both sides of every split in the table, so that nothing depends on the order of the features.
A member of a set is an interval of its own: from the number just below it to itself.

The tables are built by numpy alone, without a loop over trees or nodes: they are built beside the thread that scores,
which must not wait for the interpreter's lock.
"""

from math import ceil
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats
from scoring.scorer.ensemble import Ensemble, Ints, Model, Splits, Unsuitable, model_of, splits_of
from scoring.scorer.graph import Graph
from scoring.scorer.trying import by_feature, thresholds_at, trying_rows

__all__ = ["BitVectors", "Unsuitable"]

# Above this the tables no longer stay in a core's cache, and what they cost to build is felt at each swap.
MAXIMUM_TABLE_BYTES = 32 * 2**20
MAXIMUM_LEAVES = 64
# Records at a time: the vectors of one feature then stay in the core's second cache.
BLOCK_ROWS = 256
_WORTHWHILE = 1.2
# However many trees there are: ONNX Runtime is at its best when a record comes alone.
_FEWEST_ROWS = 8

Words = npt.NDArray[Any]  # uint32 or uint64: bit i for leaf i of a tree


def faster_from(leaves: Ints, features: int, *, word_bytes: int) -> int | None:
    """From how many records on the kernel takes less time than ONNX Runtime; None if it never does.

    An estimate in microseconds, from figures of ``bench/kernels.py``: what a call costs, and what each record does. The
    kernel pays for every feature of every tree, ONNX Runtime for the way down each tree.

    Args:
        leaves: by tree.
        features: that the trees look at.
    """
    by_kernel = 0.015 * features + len(leaves) * (0.0075 + 0.00009 * features * word_bytes)
    by_onnx_runtime = 0.010 * float(np.log2(leaves).sum())
    if by_onnx_runtime < _WORTHWHILE * by_kernel:
        return None
    return max(_FEWEST_ROWS, ceil((1.4 * features + 0.5) / (by_onnx_runtime - by_kernel)))


class _Feature(msgspec.Struct, frozen=True, eq=False):
    """The table of one feature: row ``i`` holds for values above ``i`` thresholds, the last row for missing ones.

    Attributes:
        edges: the thresholds and infinity: the place of a value among them is its row, a NaN sorting last.
    """

    column: int
    edges: Floats
    table: Words

    @property
    def thresholds(self) -> Floats:
        """Ascending."""
        return self.edges[:-1]


class _Room:
    """What a block of records is worked out in, taken from the system once for a whole micro-batch."""

    def __init__(self, rows: int, trees: int, word: np.dtype[Any]) -> None:
        self.allowed, self.more = np.empty((rows, trees), word), np.empty((rows, trees), word)
        self.counts = np.empty((rows, trees), np.uint8)
        self.exits, self.leaves = np.empty((trees, rows), np.intp), np.empty((trees, rows))

    def of(self, rows: int) -> "_Room":
        """Room for so many records: this, or a smaller one for the last block."""
        return self if rows == len(self.allowed) else _Room(rows, self.allowed.shape[1], self.allowed.dtype)


class BitVectors:
    """Runs a graph of trees: a float64 ``TreeEnsemble`` (``ai.onnx.ml`` 5) with one target (see ``model_of``).

    Args:
        graph: checked before, so that its references are in range and every tree is one.

    Attributes:
        name: for the log.
        faster_from: from so many records on it is estimated to be faster than ONNX Runtime; None if it never is.

    Raises:
        Unsuitable: it is something else, or too large.
    """

    name = "numpy"

    def __init__(self, graph: Graph) -> None:
        model = model_of(graph)
        ensemble = model.ensemble
        splits = splits_of(ensemble, MAXIMUM_LEAVES)
        self._divisor = model.divisor
        self._trees = len(ensemble.roots)
        self._word: np.dtype[Any] = np.dtype(np.uint32 if int(splits.last.max()) <= 32 else np.uint64)
        leaves = _leaves(ensemble, splits, self._trees, 8 * self._word.itemsize)
        self._features = self._tables(model, splits)
        self._columns = np.array([feature.column for feature in self._features], np.intp)
        self._first = (np.arange(self._trees, dtype=np.intp) * leaves.shape[1])[:, None]
        self._leaves = leaves.reshape(-1)
        self.faster_from: int | None = faster_from(
            splits.leaves_of_tree(self._trees), len(self._features), word_bytes=self._word.itemsize
        )

    def run(self, matrix: Floats) -> Floats:
        """Raw scores of shape (rows,) for a float64 matrix of shape (rows, features)."""
        scores, room = np.empty(len(matrix)), _Room(min(len(matrix), BLOCK_ROWS), self._trees, self._word)
        columns = np.ascontiguousarray(matrix.T[self._columns])
        for start in range(0, len(matrix), BLOCK_ROWS):
            end = min(start + BLOCK_ROWS, len(matrix))
            self._block(columns[:, start:end], room.of(end - start), scores[start:end])
        return scores if self._divisor is None else scores / self._divisor

    def trying_rows(self, features: int, rows: int) -> Floats:
        """Rows that a wrong kernel would score wrongly (see ``trying_rows``)."""
        return trying_rows([(feature.column, feature.thresholds) for feature in self._features], features, rows)

    def _block(self, columns: Floats, room: "_Room", scores: Floats) -> None:
        into = room.allowed
        for feature, values in zip(self._features, columns, strict=True):
            rows = feature.edges.searchsorted(values)
            feature.table.take(rows, axis=0, out=into, mode="clip")
            if into is room.more:
                np.bitwise_and(room.allowed, into, out=room.allowed)
            into = room.more
        np.subtract(room.allowed, self._word.type(1), out=room.allowed)
        np.bitwise_count(room.allowed, out=room.counts)  # below the one bit that is left: the leaf's number
        np.add(room.counts.T, self._first, out=room.exits)
        self._leaves.take(room.exits, out=room.leaves, mode="clip")
        if len(scores) > 1:
            np.add.reduce(room.leaves, axis=0, out=scores)  # whole rows one after the other, as the reference adds
        else:  # a single column numpy would add pairwise
            scores[0] = np.add.accumulate(room.leaves[:, 0])[-1]

    def _tables(self, model: Model, splits: Splits) -> list[_Feature]:
        columns = model.ensemble.features[splits.node]
        places = by_feature(columns)
        thresholds = {column: thresholds_at(model.ensemble, splits.node[of]) for column, of in places.items()}
        rows = sum(len(found) + 2 for found in thresholds.values())
        rows += sum(len(ranks.numbers) for ranks in model.ranks)
        if rows * self._trees * self._word.itemsize > MAXIMUM_TABLE_BYTES:
            size = rows * self._trees * self._word.itemsize / 2**20
            raise Unsuitable(f"its tables have {size:.0f} MiB")
        whole = self._bits(splits.leaves_of_tree(self._trees))
        out = _Out(~self._between(splits.first, splits.middle), ~self._between(splits.middle, splits.last))
        made = []
        for column, of in places.items():
            table = self._table(model.ensemble, splits.at(of), thresholds[column], whole, out.at(of))
            made.append(_of_the_row(model, _Feature(column, _edges(thresholds[column]), table)))
        return made

    def _table(self, ensemble: Ensemble, splits: Splits, thresholds: Floats, whole: Words, out: "_Out") -> Words:
        table = np.empty((len(thresholds) + 2, self._trees), self._word)
        table[:] = whole
        asks = ensemble.asks[splits.node]
        _compare(table, thresholds, splits.at(~asks), out.at(~asks), ensemble)
        if asks.any():
            _ask(table, thresholds, splits.at(asks), out.at(asks), ensemble)
        missing_true = ensemble.missing_true[splits.node]
        np.bitwise_and.at(table[-1], splits.tree, np.where(missing_true, out.false, out.true))
        return table

    def _bits(self, count: Ints) -> Words:
        """As many low bits."""
        bits = 8 * self._word.itemsize
        one, every = self._word.type(1), self._word.type(2**bits - 1)
        shift = np.minimum(count, bits - 1).astype(self._word)
        found: Words = np.where(count >= bits, every, (one << shift) - one)
        return found

    def _between(self, first: Ints, last: Ints) -> Words:
        found: Words = self._bits(last) & ~self._bits(first)
        return found


def _of_the_row(model: Model, feature: _Feature) -> _Feature:
    """The table for the row's own column, where the trees see it through its ranks or behind them."""
    if feature.column >= len(model.ranks):
        return msgspec.structs.replace(feature, column=feature.column - len(model.ranks))
    ranks = model.ranks[feature.column]
    rows = np.searchsorted(feature.edges, ranks.numbers)
    return _Feature(ranks.column, _edges(ranks.thresholds), feature.table.take(rows, axis=0))


def _edges(thresholds: Floats) -> Floats:
    return np.append(thresholds, np.inf)


class _Out(msgspec.Struct, frozen=True, eq=False):
    """For each split, all bits but those of the leaves on its true side, and all but those on its false side."""

    true: Words
    false: Words

    def at(self, places: Any) -> "_Out":
        """For some splits, by their places or by a flag for each."""
        return _Out(self.true[places], self.false[places])


def _compare(table: Words, thresholds: Floats, splits: Splits, out: _Out, ensemble: Ensemble) -> None:
    """Splits by ``<=``: up to a threshold's row the false side's leaves are out, above it the true side's."""
    last_true = np.searchsorted(thresholds, ensemble.splits[splits.node])
    values, trees = len(thresholds) + 1, table.shape[1]
    for rows, bits, turn in ((last_true + 1, out.true, 1), (last_true, out.false, -1)):
        reached = np.full((values, trees), ~table.dtype.type(0))
        np.bitwise_and.at(reached.reshape(-1), rows * trees + splits.tree, bits)
        np.bitwise_and.accumulate(reached[::turn], axis=0, out=reached[::turn])
        table[:-1] &= reached


def _ask(table: Words, thresholds: Floats, splits: Splits, out: _Out, ensemble: Ensemble) -> None:
    """Splits by membership: the false side's leaves are out in the rows of the set, the true side's elsewhere."""
    members = ensemble.members_of(splits.node)
    inside = np.zeros((len(splits.node), len(thresholds) + 1), np.bool_)
    asking = np.repeat(np.arange(len(members)), [len(found) for found in members])
    inside[asking, np.searchsorted(thresholds, np.concatenate(members))] = True
    order = np.argsort(splits.tree, kind="stable")
    trees, starts = np.unique(splits.tree[order], return_index=True)
    bits = np.where(inside, out.false[:, None], out.true[:, None])[order]
    table[:-1, trees] &= np.bitwise_and.reduceat(bits, starts, axis=0).T


def _leaves(ensemble: Ensemble, splits: Splits, trees: int, width: int) -> Floats:
    """The weights by tree and leaf."""
    found = np.zeros((trees, width))
    for place, sides in ((splits.first, ensemble.true), (splits.middle, ensemble.false)):
        leaf = sides.leaf[splits.node]
        found[splits.tree[leaf], place[leaf]] = ensemble.weights[sides.ids[splits.node[leaf]]]
    return found
