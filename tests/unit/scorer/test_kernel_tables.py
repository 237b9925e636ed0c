"""What the library of the compiled kernels indexes by is checked before it sees it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from scoring.scorer import library, walk
from scoring.scorer.bits import Bits
from scoring.scorer.bitvectors import BitVectors
from scoring.scorer.ensemble import model_of
from scoring.scorer.graph import parse_graph
from scoring.scorer.kernels import Unsuitable, kernels
from scoring.scorer.walk import Tables, check, tables_of
from tests.support.kernels import needs_library
from tests.support.tree_models import model


def tables() -> Tables:
    graph = parse_graph(model("categories")[2])
    return tables_of(model_of(graph), graph.inputs[0].dims)


def nodes(change: Callable[[Any], None]) -> Callable[[Tables], Mapping[str, Any]]:
    def changed(right: Tables) -> Mapping[str, Any]:
        copy = right.nodes.copy()
        change(copy)
        return {"nodes": copy}

    return changed


def looked(**changes: Any) -> Callable[[Tables], Mapping[str, Any]]:
    return lambda right: {"lookups": (msgspec.structs.replace(right.lookups[0], **changes),)}


def put(field: str, value: int) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        found[field][0] = value

    return change


WRONG: dict[str, Callable[[Tables], Mapping[str, Any]]] = {
    "a child beyond the nodes": lambda t: nodes(put("child", 2 * len(t.nodes)))(t),
    "a second child beyond the nodes": lambda t: nodes(put("child", 2 * len(t.nodes) - 2))(t),
    "a child between nodes": nodes(put("child", 3)),
    "a value beyond the block": lambda t: nodes(put("value", library.LANES * t.values))(t),
    "a value between the places": nodes(put("value", 1)),
    "nodes of another layout": lambda t: {"nodes": t.nodes.view(np.int64)},
    "every second node": lambda t: {"nodes": t.nodes[::2], "weights": t.weights[::2]},
    "a root beyond the nodes": lambda t: {"roots": np.full_like(t.roots, 2 * len(t.nodes))},
    "no tree": lambda t: {"roots": t.roots[:0], "depths": t.depths[:0]},
    "fewer depths than trees": lambda t: {"depths": t.depths[1:]},
    "a walk without an end": lambda t: {"depths": np.full_like(t.depths, walk.MAXIMUM_DEPTH + 1)},
    "fewer weights than nodes": lambda t: {"weights": t.weights[1:]},
    "weights in float32": lambda t: {"weights": t.weights.astype(np.float32)},
    "a column beyond the row": lambda t: {"columns": np.full_like(t.columns, t.features)},
    "a column before the row": lambda t: {"columns": np.full_like(t.columns, -1)},
    "fewer keys than columns": lambda t: {"missing": t.missing[1:]},
    "a looked-up column beyond the row": looked(column=4),
    "no thresholds": looked(thresholds=np.zeros(0)),
    "more thresholds than answers": lambda t: looked(thresholds=np.append(t.lookups[0].thresholds, 1e9))(t),
    "answers of another layout": lambda t: looked(answers=np.asfortranarray(t.lookups[0].answers))(t),
}


@pytest.mark.parametrize("wrong", [*WRONG])
def test_tables_that_would_lead_the_library_astray_are_refused(wrong: str) -> None:
    right = tables()
    check(right)
    with pytest.raises(Unsuitable, match="outside of themselves"):
        check(msgspec.structs.replace(right, **WRONG[wrong](right)))


@pytest.mark.parametrize("kind", [BitVectors, *(kernels()[name] for name in kernels() if name != "numpy")])
def test_nodes_that_lead_back_or_together_are_no_trees(kind: Any) -> None:
    """The rules for graphs refuse them before; a kernel does not rely on that."""
    graph = parse_graph(model("31 leaves")[2])
    (trees,) = graph.nodes
    first = int(trees.attributes["tree_roots"][0])
    for to in (first, int(trees.attributes["tree_roots"][1])):
        ids, leaves = trees.attributes["nodes_truenodeids"].copy(), trees.attributes["nodes_trueleafs"].copy()
        ids[first], leaves[first] = to, 0
        odd = {**trees.attributes, "nodes_truenodeids": ids, "nodes_trueleafs": leaves}
        with pytest.raises(Unsuitable, match="no trees"):
            kind(msgspec.structs.replace(graph, nodes=(msgspec.structs.replace(trees, attributes=odd),)))


@needs_library
def test_bit_vectors_check_their_tables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = parse_graph(model("31 leaves")[2])
    monkeypatch.setattr("scoring.scorer.bits.MAXIMUM_FEATURES", 1)
    with pytest.raises(Unsuitable, match="outside of themselves"):
        Bits(graph, library.load())  # type: ignore[arg-type]
