"""The kernel equals ONNX Runtime bit for bit wherever it runs at all, and says what it does not run."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Link, Output, Task
from scoring.scorer import bitvectors
from scoring.scorer.bitvectors import BitVectors, Unsuitable
from scoring.scorer.compiled import KERNEL_ROWS, CompiledModel
from scoring.scorer.graph import parse_graph
from tests.support.thresholds import adversarial_rows, every_threshold
from training.compile import compile_model

ROWS = 3_000


def sample() -> tuple[Floats, Floats]:
    random = np.random.default_rng(3)
    matrix = np.column_stack(
        [
            random.normal(size=ROWS),
            random.integers(0, 12, ROWS).astype(float),
            np.full(ROWS, 3.0),
            np.where(random.random(ROWS) < 0.7, np.nan, random.exponential(size=ROWS)),
        ]
    )
    return matrix, matrix[:, 0] + np.sin(matrix[:, 1]) + random.normal(scale=0.3, size=ROWS)


def fitted(task: Task, **parameters: Any) -> tuple[Any, Floats]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = HistGradientBoostingClassifier if task is Task.BINARY else HistGradientBoostingRegressor
    matrix, target = sample()
    estimator = made(random_state=0, early_stopping=False, **{"max_iter": 20, **parameters})
    return estimator.fit(matrix, (target > 0).astype(int) if task is Task.BINARY else target), matrix


def compiled(estimator: Any, task: Task, matrix: Floats) -> tuple[bytes, Output]:
    made = compile_model(estimator, task, matrix, tolerance=0.0)
    return made.graph, msgspec.structs.replace(made.output, link=Link.IDENTITY)


def onnx_runtime(graph: bytes, output: Output) -> CompiledModel:
    """The reference alone."""
    made = CompiledModel(graph, output)
    made._kernel = None
    return made


def assert_same_bits(found: Floats, expected: Floats) -> None:
    assert len(found) == len(expected) > 0
    assert (found.view(np.int64) == expected.view(np.int64)).all()


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"max_leaf_nodes": 2}, {"max_leaf_nodes": 32}, {"max_leaf_nodes": 33}, {"max_leaf_nodes": 64},
     {"max_iter": 1}, {"min_samples_leaf": 2_000}],
    ids=["31 leaves", "stumps", "32 leaves", "33 leaves", "64 leaves", "one tree", "trees without a split"],
)  # fmt: skip
def test_scores_are_those_of_onnx_runtime_around_every_threshold(task: Task, parameters: Mapping[str, Any]) -> None:
    estimator, matrix = fitted(task, **parameters)
    graph, output = compiled(estimator, task, matrix)
    kernel, reference = BitVectors(parse_graph(graph)), onnx_runtime(graph, output)
    rows = [matrix, adversarial_rows(estimator, matrix, 2_000, seed=1)]
    near = every_threshold(estimator, matrix)
    for placed in [*rows, near] if len(near) else rows:
        assert_same_bits(kernel.run(placed), reference.run(placed))


def test_scores_do_not_depend_on_how_many_records_come_together() -> None:
    estimator, matrix = fitted(Task.REGRESSION)
    graph, output = compiled(estimator, Task.REGRESSION, matrix)
    kernel, expected = BitVectors(parse_graph(graph)), onnx_runtime(graph, output).run(matrix)
    for rows in (1, 2, 3, 255, 256, 257, 258, 513):
        assert_same_bits(kernel.run(matrix[:rows]), expected[:rows])


def ensemble(**changes: Any) -> bytes:
    """One tree with one split."""

    def doubles(name: str, values: list[float]) -> TensorProto:
        return numpy_helper.from_array(np.array(values), name)

    attributes: dict[str, Any] = {
        "n_targets": 1,
        "aggregate_function": 1,
        "post_transform": 0,
        "nodes_featureids": [0],
        "nodes_splits": doubles("splits", [0.5]),
        "nodes_modes": numpy_helper.from_array(np.array([0], np.uint8), "modes"),
        "nodes_truenodeids": [0],
        "nodes_trueleafs": [1],
        "nodes_falsenodeids": [1],
        "nodes_falseleafs": [1],
        "leaf_weights": doubles("weights", [1.0, 2.0]),
        "leaf_targetids": [0, 0],
        "tree_roots": [0],
    }
    node = helper.make_node("TreeEnsemble", ["X"], ["raw"], domain="ai.onnx.ml", **{**attributes, **changes})
    return wrapped(node)


def wrapped(*nodes: Any) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def test_missing_values_go_to_the_false_side_where_the_graph_does_not_say() -> None:
    graph = ensemble()
    rows = np.array([[0.5, 0.0], [0.6, 0.0], [np.nan, 0.0], [-np.inf, 0.0]])
    output = Output(task=Task.REGRESSION)
    assert BitVectors(parse_graph(graph)).run(rows).tolist() == [1.0, 2.0, 2.0, 1.0]
    assert_same_bits(BitVectors(parse_graph(graph)).run(rows), onnx_runtime(graph, output).run(rows))


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (wrapped(helper.make_node("Identity", ["X"], ["raw"])), "not one TreeEnsemble"),
        (ensemble(aggregate_function=0), "more than add"),
        (ensemble(post_transform=2), "more than add"),
        (ensemble(nodes_modes=numpy_helper.from_array(np.array([1], np.uint8), "modes")), "otherwise than by <="),
        (ensemble(nodes_splits=numpy_helper.from_array(np.array([0.5], np.float32), "s")), "not in float64"),
    ],
    ids=["another operator", "average", "softmax", "less than", "float32"],
)
def test_what_it_does_not_run_is_named(graph: bytes, why: str) -> None:
    with pytest.raises(Unsuitable, match=why):
        BitVectors(parse_graph(graph))


def test_an_ensemble_that_is_too_large_is_left_to_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, matrix = fitted(Task.REGRESSION)
    graph = parse_graph(compiled(estimator, Task.REGRESSION, matrix)[0])
    monkeypatch.setattr(bitvectors, "MAXIMUM_TABLE_BYTES", 1_000)
    with pytest.raises(Unsuitable):
        BitVectors(graph)
    monkeypatch.setattr(bitvectors, "MAXIMUM_TABLE_BYTES", 2**30)
    monkeypatch.setattr(bitvectors, "MAXIMUM_LEAVES", 5)
    with pytest.raises(Unsuitable, match="leaves"):
        BitVectors(graph)


def test_a_compiled_model_runs_it_for_many_records_and_the_scores_are_the_same() -> None:
    estimator, matrix = fitted(Task.REGRESSION)
    graph, output = compiled(estimator, Task.REGRESSION, matrix)
    model = CompiledModel(graph, output)
    assert model._kernel is not None
    expected = onnx_runtime(graph, output).run(matrix)
    for rows in (1, KERNEL_ROWS - 1, KERNEL_ROWS, KERNEL_ROWS + 1, ROWS):
        assert_same_bits(model.run(matrix[:rows]), expected[:rows])


def test_a_kernel_that_disagrees_with_onnx_runtime_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, matrix = fitted(Task.REGRESSION)
    graph, output = compiled(estimator, Task.REGRESSION, matrix)
    right = BitVectors.run

    def slightly_wrong(kernel: BitVectors, rows: Floats) -> Floats:
        scores = right(kernel, rows)
        scores[len(scores) // 2] = np.nextafter(scores[len(scores) // 2], np.inf)
        return scores

    monkeypatch.setattr(BitVectors, "run", slightly_wrong)
    model = CompiledModel(graph, output)
    assert model._kernel is None
    assert_same_bits(model.run(matrix), onnx_runtime(graph, output).run(matrix))
