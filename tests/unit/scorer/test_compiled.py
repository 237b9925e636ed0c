"""The compiled model and its link."""

import math
import random
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper
from scipy.special import expit

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import Link, Output, Task
from scoring.scorer.compiled import CompiledModel, sigmoid
from tests.support.bundles import one_split_tree, small_bundle

OUTPUT = Output(task=Task.REGRESSION)
GRAPH = one_split_tree(1.25, 1.75, 2)


def bits(numbers: Floats) -> list[bytes]:
    """Every NaN alike, everything else by its bits."""
    return [b"nan" if math.isnan(number) else struct.pack("<d", number) for number in numbers.tolist()]


def same_as_scipy(numbers: list[float]) -> None:
    raw = np.array(numbers, dtype=np.float64)
    assert bits(sigmoid(raw)) == bits(expit(raw))


def test_the_sigmoid_equals_that_of_scipy_at_every_edge() -> None:
    edges = [
        0.0,
        -0.0,
        5e-324,
        -5e-324,
        36.7,
        37.0,
        -36.7,
        -708.0,
        -709.0,
        -709.78,
        -709.79,
        -745.0,
        -746.0,
        -1e308,
        710.0,
    ]
    near = [math.nextafter(edge, direction) for edge in edges for direction in (-math.inf, math.inf)]
    same_as_scipy([*edges, *near, math.inf, -math.inf, math.nan, 1e308])


def test_the_sigmoid_equals_that_of_scipy_bit_for_bit_on_many_numbers() -> None:
    chooser = random.Random(7)
    same_as_scipy([chooser.uniform(-40, 40) for _ in range(20_000)])
    same_as_scipy([chooser.uniform(-760, 760) for _ in range(5_000)])
    same_as_scipy([chooser.gauss(0, 1) * 10.0 ** chooser.randint(-320, 300) for _ in range(5_000)])


def test_the_sigmoid_of_nothing_is_nothing() -> None:
    assert sigmoid(np.array([], dtype=np.float64)).shape == (0,)


def test_a_graph_gives_one_score_per_record() -> None:
    matrix = np.array([[0.5, 0.0], [0.6, 0.0], [math.nan, 0.0]])
    assert CompiledModel(GRAPH, OUTPUT).run(matrix).tolist() == [1.25, 1.75, 1.75]


def test_no_records_make_no_scores() -> None:
    assert CompiledModel(GRAPH, OUTPUT).run(np.empty((0, 2))).shape == (0,)


def test_the_link_runs_behind_the_graph() -> None:
    linked = msgspec.structs.replace(OUTPUT, link=Link.SIGMOID)
    assert CompiledModel(GRAPH, linked).run(np.array([[0.5, 0.0]])).tolist() == [float(expit(1.25))]


@pytest.mark.parametrize("graph", [b"", b"nonsense", GRAPH[:100], b"\x00" * 64])
def test_what_is_no_graph_is_refused(graph: bytes) -> None:
    with pytest.raises(BundleRejected, match=r"^compiled model: "):
        CompiledModel(graph, OUTPUT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input_name": "Y"}, "inputs are"),
        ({"input_type": "float"}, "inputs are"),
        ({"input_type": "string"}, "input type 'string' is none of"),
        ({"output_name": "other"}, "no 'other'"),
    ],
)
def test_a_graph_without_what_the_manifest_names_is_refused(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(BundleRejected, match=reason):
        CompiledModel(GRAPH, msgspec.structs.replace(OUTPUT, **changes))


def constant_graph() -> bytes:
    """Gives one number, however many records there are."""
    node = helper.make_node("Constant", [], ["raw"], value=helper.make_tensor("c", TensorProto.DOUBLE, [1], [1.0]))
    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_graph_that_ignores_its_input_is_not_spread_over_the_records() -> None:
    model = CompiledModel(constant_graph(), OUTPUT)
    with pytest.raises(BundleRejected, match=r"output of shape \(1,\) for 3 records"):
        model.run(np.zeros((3, 2)))


def test_the_scores_do_not_depend_on_the_size_of_the_batch(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    model = CompiledModel(bundle.model, bundle.manifest.output)
    matrix = np.random.default_rng(1).uniform(-1, 2, (500, 3))
    whole = model.run(matrix)
    for size in (1, 7, 256):
        parts = [model.run(matrix[start : start + size]) for start in range(0, 500, size)]
        assert bits(np.concatenate(parts)) == bits(whole)
