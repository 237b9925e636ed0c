"""Which kernel runs the trees of a graph: a compiled one where its library was built, otherwise the numpy one."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from scoring.contract.encoder import Floats
from scoring.scorer import library
from scoring.scorer.bits import Bits
from scoring.scorer.bitvectors import MAXIMUM_LEAVES, BitVectors
from scoring.scorer.ensemble import Unsuitable
from scoring.scorer.graph import Graph
from scoring.scorer.walk import Tables, Walk

__all__ = ["Kernel", "Unsuitable", "kernel_of", "kernels"]


class Kernel(Protocol):
    """Runs the trees of a graph, bit for bit as ONNX Runtime does.

    Attributes:
        name: for the log.
        faster_from: from so many records on it is faster than ONNX Runtime; None if it never is.
    """

    name: str
    faster_from: int | None

    def run(self, matrix: Floats) -> Floats:
        """Raw scores of shape (rows,) for a float64 matrix of shape (rows, features)."""
        ...

    def trying_rows(self, features: int, rows: int) -> Floats:
        """Rows of shape (rows, features) that a wrong kernel would score wrongly."""
        ...


def kernel_of(graph: Graph) -> Kernel:
    """The fastest kernel for a graph that was checked before.

    Raises:
        Unsuitable: none can run it; the message says why.
    """
    compiled = library.load()
    if compiled is None:
        return BitVectors(graph)
    walk = Walk(graph, compiled)
    if not bits_are_faster(walk.tables):
        return walk
    try:
        return Bits(graph, compiled)
    except Unsuitable:  # its tables would be too large
        return walk


def kernels() -> dict[str, Callable[[Graph], Kernel]]:
    """All that there are on this machine, by their own names: for who compares them."""
    compiled = library.load()
    if compiled is None:
        return {"numpy": BitVectors}
    return {"numpy": BitVectors, "bits": partial(Bits, compiled=compiled), "walk": partial(Walk, compiled=compiled)}


def bits_are_faster(tables: Tables) -> bool:
    """Whether bit vectors take less time than walking.

    An estimate in microseconds per record, from figures of ``bench/kernels.py``: bit vectors pay for every feature of
    every tree, a walk for the longest way down each.
    """
    leaves = _leaves(tables)
    if leaves > MAXIMUM_LEAVES:
        return False
    features = len({*tables.columns.tolist(), *(lookup.column for lookup in tables.lookups)})
    by_bits = 0.02 * features + len(tables.roots) * (0.002 + 0.00003 * features * (4 if leaves <= 32 else 8))
    return by_bits < 0.004 * tables.values + 0.0013 * int(tables.depths.sum())


def _leaves(tables: Tables) -> int:
    """Of the largest tree; one of n leaves has 2n - 1 nodes."""
    return (int(np.diff(tables.roots // 2, append=len(tables.nodes)).max()) + 1) // 2
