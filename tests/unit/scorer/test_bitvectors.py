"""Every kernel equals ONNX Runtime bit for bit wherever it runs at all, and says what it does not run."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Link, Output, Task
from scoring.scorer import bitvectors, library
from scoring.scorer.bitvectors import BitVectors, Unsuitable, faster_from
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.graph import Graph, parse_graph
from scoring.scorer.kernels import Kernel, kernels
from tests.support.thresholds import adversarial_rows, every_threshold
from training.compile import compile_model

ROWS = 3_000
Make = Callable[[Graph], Kernel]


@pytest.fixture(params=[*kernels()])
def make(request: pytest.FixtureRequest) -> Make:
    return kernels()[request.param]


@pytest.fixture
def _numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no compiler was when the package was built."""
    monkeypatch.setattr(library, "load", lambda: None)


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
    return CompiledModel(graph, output, kernel=False)


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
def test_scores_are_those_of_onnx_runtime_around_every_threshold(
    task: Task, parameters: Mapping[str, Any], make: Make
) -> None:
    estimator, matrix = fitted(task, **parameters)
    graph, output = compiled(estimator, task, matrix)
    kernel, reference = make(parse_graph(graph)), onnx_runtime(graph, output)
    rows = [matrix, adversarial_rows(estimator, matrix, 2_000, seed=1)]
    near = every_threshold(estimator, matrix)
    for placed in [*rows, near] if len(near) else rows:
        assert_same_bits(kernel.run(placed), reference.run(placed))


def test_scores_do_not_depend_on_how_many_records_come_together(make: Make) -> None:
    estimator, matrix = fitted(Task.REGRESSION)
    graph, output = compiled(estimator, Task.REGRESSION, matrix)
    kernel, expected = make(parse_graph(graph)), onnx_runtime(graph, output).run(matrix)
    for rows in (1, 2, 3, 7, 8, 9, 63, 64, 65, 72, 73, 255, 256, 257, 258, 513):
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


def wrapped(*nodes: Any, numbers: Sequence[TensorProto] = ()) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])],
        numbers,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def behind(graph: bytes, *nodes: Any, numbers: Sequence[TensorProto] = ()) -> bytes:
    """The graph's trees, under the name ``sum``, and further nodes."""
    (trees,) = ModelProto.FromString(graph).graph.node
    trees.output[0] = "sum"
    return wrapped(trees, *nodes, numbers=numbers)


def divided(numbers: list[float], kind: int = TensorProto.DOUBLE) -> bytes:
    by = helper.make_tensor("by", kind, [len(numbers)], numbers)
    return behind(ensemble(), helper.make_node("Div", ["sum", "by"], ["raw"]), numbers=[by])


def ranked(axis: int = 1, second: str = "X", **changes: Any) -> bytes:
    """The first column is replaced by 1.0 up to 0.5 and by 2.0 above; a tree asks whether it is in the set of 2."""
    (first,) = ModelProto.FromString(ensemble(**changes)).graph.node
    first.output[0] = "ranks"
    values = numpy_helper.from_array(np.array([2.0, np.nan]), "v")
    modes = numpy_helper.from_array(np.array([6], np.uint8), "modes")
    weights = numpy_helper.from_array(np.array([10.0, 20.0]), "w")
    (asks,) = ModelProto.FromString(
        ensemble(nodes_modes=modes, membership_values=values, leaf_weights=weights)
    ).graph.node
    asks.input[0] = "ranked"
    return wrapped(first, helper.make_node("Concat", ["ranks", second], ["ranked"], axis=axis), asks)


def test_missing_values_go_to_the_false_side_where_the_graph_does_not_say(make: Make) -> None:
    graph = ensemble()
    rows = np.array([[0.5, 0.0], [0.6, 0.0], [np.nan, 0.0], [-np.inf, 0.0]])
    output = Output(task=Task.REGRESSION)
    assert make(parse_graph(graph)).run(rows).tolist() == [1.0, 2.0, 2.0, 1.0]
    assert_same_bits(make(parse_graph(graph)).run(rows), onnx_runtime(graph, output).run(rows))


def test_a_sum_is_divided_as_onnx_runtime_divides_it(make: Make) -> None:
    rows = np.array([[0.5, 0.0], [0.6, 0.0]])
    kernel = make(parse_graph(divided([3.0])))
    assert kernel.run(rows).tolist() == [1.0 / 3.0, 2.0 / 3.0]
    assert_same_bits(kernel.run(rows), onnx_runtime(divided([3.0]), Output(task=Task.REGRESSION)).run(rows))


def test_a_column_is_replaced_before_the_trees_see_it(make: Make) -> None:
    rows = np.array([[0.5, 0.0], [0.6, 0.0], [2.0, 0.0], [-9.0, 0.0], [np.nan, 0.0], [np.inf, 0.0]])
    kernel = make(parse_graph(ranked()))
    assert kernel.run(rows).tolist() == [20.0, 10.0, 10.0, 20.0, 10.0, 10.0]
    assert_same_bits(kernel.run(rows), onnx_runtime(ranked(), Output(task=Task.REGRESSION)).run(rows))


def test_tables_are_built_without_a_step_of_python_for_each_tree(make: Make) -> None:
    """The interpreter's lock belongs to the thread that scores."""

    def steps(trees: int) -> int:
        estimator, matrix = fitted(Task.REGRESSION, max_iter=trees, max_leaf_nodes=8)
        graph = parse_graph(compiled(estimator, Task.REGRESSION, matrix)[0])
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        try:
            make(graph)
        finally:
            sys.setprofile(None)
        return counted

    few = steps(20)
    assert 100 < few < 2_000
    assert steps(200) < 1.5 * few


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (divided([3.0, 4.0]), "divide by one number"),
        (divided([3.0], TensorProto.FLOAT), "divide by one number in float64"),
        (behind(ensemble(), helper.make_node("Abs", ["sum"], ["raw"])), "not one TreeEnsemble"),
        (ranked(axis=0), "not one TreeEnsemble"),
        (ranked(second="ranks"), "do not follow each other"),
        (ranked(aggregate_function=0), "more than add"),
        (ranked(n_targets=2), "by more than one tree"),
        (ensemble(n_targets=2), "another number of targets"),
        (
            ensemble(
                nodes_modes=numpy_helper.from_array(np.array([6], np.uint8), "modes"),
                membership_values=numpy_helper.from_array(np.array([2.0, np.nan]), "v"),
                nodes_missing_value_tracks_true=[1],
            ),
            "counts as a member",
        ),
        (wrapped(helper.make_node("Identity", ["X"], ["raw"])), "not one TreeEnsemble"),
        (ensemble(aggregate_function=0), "more than add"),
        (ensemble(post_transform=2), "more than add"),
        (ensemble(nodes_modes=numpy_helper.from_array(np.array([1], np.uint8), "modes")), "otherwise than by <="),
        (ensemble(nodes_splits=numpy_helper.from_array(np.array([0.5], np.float32), "s")), "not in float64"),
    ],
    ids=[
        "two divisors",
        "a float32 divisor",
        "an operator behind",
        "joined below",
        "joined with itself",
        "an average first",
        "two targets first",
        "two targets",
        "a missing member",
        "another operator",
        "average",
        "softmax",
        "less than",
        "float32",
    ],
)
def test_what_it_does_not_run_is_named(graph: bytes, why: str, make: Make) -> None:
    with pytest.raises(Unsuitable, match=why):
        make(parse_graph(graph))


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


@pytest.mark.usefixtures("_numpy_alone")
def test_a_compiled_model_runs_it_for_many_records_and_the_scores_are_the_same() -> None:
    estimator, matrix = fitted(Task.REGRESSION)
    graph, output = compiled(estimator, Task.REGRESSION, matrix)
    model = CompiledModel(graph, output)
    assert model._kernel is not None
    first = model._kernel.faster_from
    assert first is not None
    assert 2 < first < 100
    expected = onnx_runtime(graph, output).run(matrix)
    for rows in (1, first - 1, first, first + 1, ROWS):
        assert_same_bits(model.run(matrix[:rows]), expected[:rows])


@pytest.mark.usefixtures("_numpy_alone")
def test_what_onnx_runtime_does_faster_is_left_to_it() -> None:
    assert faster_from(np.full(100, 31), 20, word_bytes=4) == pytest.approx(10, abs=5)
    assert faster_from(np.full(100, 31), 40, word_bytes=4) > faster_from(np.full(100, 31), 20, word_bytes=4)  # type: ignore[operator]
    assert faster_from(np.full(1, 64), 20, word_bytes=8) is None  # one tree: few comparisons
    assert faster_from(np.full(100, 2), 20, word_bytes=4) is None  # stumps: one comparison each
    assert faster_from(np.full(100, 31), 500, word_bytes=4) is None  # every tree has a word for each feature
    estimator, matrix = fitted(Task.REGRESSION, max_leaf_nodes=2)
    assert CompiledModel(*compiled(estimator, Task.REGRESSION, matrix))._kernel is None


@pytest.mark.usefixtures("_numpy_alone")
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
