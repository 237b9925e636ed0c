"""The bit vectors of ``bitvectors.py`` by the compiled library (``trees.c``): the same tables, one record at a time."""

import ctypes

import numpy as np

from scoring.contract.encoder import Floats
from scoring.scorer import library
from scoring.scorer.bitvectors import BitVectors
from scoring.scorer.ensemble import Unsuitable
from scoring.scorer.graph import Graph

# As in trees.c.
MAXIMUM_FEATURES = 256


class Bits(BitVectors):
    """Runs a graph of trees with at most 64 leaves: a float64 ``TreeEnsemble`` with one target (see ``model_of``).

    Args:
        graph: checked before, so that its references are in range and every tree is one.

    Raises:
        Unsuitable: it is something else, or too large.
    """

    name = "compiled"

    def __init__(self, graph: Graph, compiled: ctypes.CDLL) -> None:
        super().__init__(graph)
        self.faster_from = 1
        self._width = _width(graph)
        self._check()
        self._run = compiled.bits32 if self._word == np.uint32 else compiled.bits64
        thresholds, tables = ([getattr(each, name) for each in self._features] for name in ("edges", "table"))
        arrays = {
            "columns": self._columns.astype(np.int64),
            "counts": np.array([len(feature.thresholds) for feature in self._features], np.int64),
            "thresholds": library.addresses(thresholds),
            "tables": library.addresses(tables),
            "weights": self._leaves,
        }
        self._kept = [*arrays.values(), *thresholds, *tables]
        self._described = library.BitsTables(
            features=len(tables), trees=self._trees, leaves=8 * self._word.itemsize,
            divisor=1.0 if self._divisor is None else self._divisor,
            **{name: array.ctypes.data for name, array in arrays.items()},
        )  # fmt: skip
        self._address = ctypes.addressof(self._described)

    def run(self, matrix: Floats) -> Floats:
        """Raw scores of shape (rows,) for a float64 matrix of shape (rows, features)."""
        return library.call(self._run, self._address, matrix, self._width)

    def _check(self) -> None:
        """Everything that the library indexes by."""
        good = [
            0 < len(self._features) <= MAXIMUM_FEATURES and self._trees > 0,
            bool(((self._columns >= 0) & (self._columns < self._width)).all()),
            len(self._leaves) == self._trees * 8 * self._word.itemsize,
            *(
                len(feature.thresholds) > 0
                and feature.table.shape == (len(feature.thresholds) + 2, self._trees)
                and feature.table.dtype == self._word
                and feature.table.flags.c_contiguous
                for feature in self._features
            ),
        ]
        if not all(good):
            raise Unsuitable("its tables lead outside of themselves")


def _width(graph: Graph) -> int:
    dims = graph.inputs[0].dims
    if dims is None or len(dims) != 2 or dims[1] is None:
        raise Unsuitable("its columns are not told")
    return dims[1]
