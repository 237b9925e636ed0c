"""The compiled kernels are exact on everything, in every company, and never needed."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Output, Task
from scoring.scorer import compiled as module
from scoring.scorer import library
from scoring.scorer.bits import Bits
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.graph import parse_graph
from scoring.scorer.kernels import Unsuitable, bits_are_faster, kernel_of, kernels
from scoring.scorer.walk import Tables, Walk
from tests.support.kernels import needs_library
from tests.support.tree_models import NAMES, ROWS, model, rows_for, same_bits

SIZES = (0, 1, 2, 7, 8, 9, 63, 64, 65, 71, 72, 73, 137, ROWS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kernel", [*kernels()])
def test_scores_are_those_of_onnx_runtime_in_any_company(kernel: str, name: str) -> None:
    *_, graph, output = model(name)
    try:
        made = kernels()[kernel](parse_graph(graph))
    except Unsuitable:
        assert kernel != "walk"
        assert "leaves" in name or name in {"deep forest", "decision tree"}
        return
    rows, reference = rows_for(name), CompiledModel(graph, output, kernel=False)
    expected = reference.run(rows)
    assert same_bits(made.run(rows), expected)
    assert same_bits(made.run(made.trying_rows(4, 512)), reference.run(made.trying_rows(4, 512)))
    for size in SIZES:
        assert same_bits(made.run(rows[-size:] if size else rows[:0]), expected[-size:] if size else expected[:0])


@needs_library
@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_model_runs_every_record_by_a_compiled_kernel(name: str) -> None:
    *_, graph, output = model(name)
    found = CompiledModel(graph, output)
    assert found.kernel == "compiled"
    assert found._kernel_rows == 1
    rows = rows_for(name)
    assert same_bits(found.run(rows), CompiledModel(graph, output, kernel=False).run(rows))


def sets(values: list[float], splits: list[float]) -> bytes:
    """Two splits on the raw first column: a set that leads on to a comparison."""
    lists = {"nodes_splits": splits, "leaf_weights": [1.0, 2.0, 4.0], "membership_values": [*values, np.nan]}
    doubles: Any = {name: numpy_helper.from_array(np.array(numbers), name) for name, numbers in lists.items()}
    node = helper.make_node(
        "TreeEnsemble", ["X"], ["raw"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0,
        nodes_featureids=[0, 0], nodes_modes=numpy_helper.from_array(np.array([6, 0], np.uint8), "m"),
        nodes_truenodeids=[0, 1], nodes_trueleafs=[1, 1], nodes_falsenodeids=[1, 2], nodes_falseleafs=[0, 1],
        leaf_targetids=[0, 0, 0], tree_roots=[0],
        **doubles,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


@pytest.mark.parametrize("kernel", [*kernels()])
def test_a_column_may_be_asked_for_membership_and_compared(kernel: str) -> None:
    graph = sets([-2.0, 0.0, 3.0], [0.0, 2.5])
    column = np.array([*range(-4, 6), -0.0, 1e6, -1e6])  # ONNX Runtime cuts off what is behind the point
    rows = np.column_stack([column, np.zeros(len(column))])
    reference = CompiledModel(graph, Output(task=Task.REGRESSION), kernel=False)
    assert same_bits(kernels()[kernel](parse_graph(graph)).run(rows), reference.run(rows))


@needs_library
@pytest.mark.parametrize("kernel", ["bits", "walk"])
def test_a_matrix_of_another_shape_is_refused_and_of_another_layout_is_read_right(kernel: str) -> None:
    _, matrix, graph, _ = model("31 leaves")
    made = kernels()[kernel](parse_graph(graph))
    for wrong in (matrix[:, :3], matrix[:, [0, 1, 2, 3, 3]], matrix[0]):
        with pytest.raises(ValueError, match="4 columns"):
            made.run(wrong)
    expected = made.run(matrix)
    wide = np.zeros((ROWS, 8))
    wide[:, ::2] = matrix
    for same in (np.asfortranarray(matrix), wide[:, ::2], matrix.astype(">f8")):
        assert same_bits(made.run(same), expected)
    assert same_bits(made.run(matrix.astype(np.float32)), made.run(matrix.astype(np.float32).astype(np.float64)))


@needs_library
@pytest.mark.parametrize("kind", [Bits, Walk])
def test_a_compiled_kernel_that_disagrees_is_not_used_and_an_error_is_logged(
    kind: type[Bits | Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, matrix, graph, output = model("31 leaves")
    logged: list[str] = []
    right = kind.run

    def slightly_wrong(kernel: Any, rows: Floats) -> Floats:
        scores = right(kernel, rows)
        scores[-1] = np.nextafter(scores[-1], np.inf)
        return scores

    monkeypatch.setattr(kind, "run", slightly_wrong)
    monkeypatch.setattr("scoring.scorer.kernels.bits_are_faster", lambda _: kind is Bits)
    monkeypatch.setattr(module.log, "error", lambda event, **_: logged.append(event))
    found = CompiledModel(graph, output)
    assert found.kernel == "onnxruntime"
    assert logged == ["kernel.disagrees"]
    assert same_bits(found.run(matrix), CompiledModel(graph, output, kernel=False).run(matrix))


@needs_library
def test_bit_vectors_run_what_they_are_faster_at() -> None:
    def of(trees: int, leaves: int, features: int, depth: int) -> Tables:
        size = 2 * leaves - 1
        return Tables(
            nodes=np.zeros(trees * size, np.int64), weights=np.zeros(0), lookups=(), features=features,
            roots=(2 * size * np.arange(trees)).astype(np.uint32), depths=np.full(trees, depth, np.uint32),
            columns=np.arange(features), missing=np.zeros(features, np.int64),
        )  # fmt: skip

    assert bits_are_faster(of(100, 31, 20, 11))
    assert bits_are_faster(of(100, 64, 20, 14))
    assert not bits_are_faster(of(100, 65, 20, 14))  # no word has so many bits
    assert not bits_are_faster(of(100, 8, 20, 3))
    assert not bits_are_faster(of(1, 64, 20, 12))
    assert not bits_are_faster(of(100, 31, 500, 11))  # every tree has a word for each feature
    assert isinstance(kernel_of(parse_graph(model("deep forest")[2])), Walk)
    assert isinstance(kernel_of(parse_graph(model("31 leaves")[2])), Bits)


@needs_library
def test_bit_vectors_whose_tables_are_too_large_make_room_for_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = parse_graph(model("31 leaves")[2])
    monkeypatch.setattr("scoring.scorer.bitvectors.MAXIMUM_TABLE_BYTES", 1_000)
    assert isinstance(kernel_of(graph), Walk)


@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_numpy_or_onnx_runtime_score_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, graph, output = model(name)
    monkeypatch.setattr(library, "load", lambda: None)
    found = CompiledModel(graph, output)
    assert found.kernel in {"numpy", "onnxruntime"}
    rows = rows_for(name)
    assert same_bits(found.run(rows), CompiledModel(graph, output, kernel=False).run(rows))
