"""Reading ONNX files without ONNX Runtime, and the rules that a compiled model keeps."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import Output, Task
from scoring.scorer import graph as module
from scoring.scorer.graph import parse_graph
from scoring.scorer.graph_rules import check_graph
from scoring.scorer.wire import varints
from tests.faults.hostile import operators
from tests.faults.hostile.graphs import make
from tests.support.bundles import one_split_tree
from tests.support.forge import Forge

OUTPUT = Output(task=Task.REGRESSION)
GRAPH = one_split_tree(1.25, 1.75, 3)
VARIANTS = 60
# What only the manifest's features, or a run, can show.
LEFT_TO_A_RUN = {
    "of another width",
    "an output beyond the records",
    "scores that depend on the batch",
    "grown with the batch",
    "grown from a constant",
    "several outputs",
}


def changed(change: Callable[[ModelProto], object]) -> bytes:
    model = ModelProto.FromString(GRAPH)
    change(model)
    return bytes(model.SerializeToString())


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_graph_is_read_as_it_was_written() -> None:
    found = parse_graph(GRAPH)
    (node,) = found.nodes
    assert (node.op, node.domain, node.inputs, node.outputs) == ("TreeEnsemble", "ai.onnx.ml", ("X",), ("raw",))
    assert node.attributes["nodes_splits"].values.tolist() == [0.5]
    assert node.attributes["leaf_weights"].values.tolist() == [1.25, 1.75]
    assert node.attributes["nodes_falsenodeids"].tolist() == [1]
    assert (found.inputs[0].name, found.inputs[0].dims, found.outputs[0].dims) == ("X", (None, 3), (None, 1))
    assert dict(found.opsets) == {"": 18, "ai.onnx.ml": 5}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.DOUBLE, [1.5, -0.0, 1e308]),
        (TensorProto.FLOAT, [1.5, -2.0]),
        (TensorProto.INT64, [0, -1, 2**63 - 1, -(2**63)]),
        (TensorProto.INT32, [0, -5, 2**31 - 1]),
        (TensorProto.UINT8, [0, 255]),
        (TensorProto.BOOL, [True, False]),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_are_read_from_either_form(kind: int, values: list[Any], raw: bool) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    content = np.array(values, dtype).tobytes() if raw else values
    tensor = helper.make_tensor("t", kind, [len(values)], content, raw=raw)
    found = parse_graph(changed(lambda model: model.graph.initializer.append(tensor))).initializers["t"]
    assert found.values.dtype == dtype
    assert found.values.tolist() == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_attributes_of_whole_numbers_keep_every_one(numbers: list[int]) -> None:
    content = changed(lambda model: model.graph.node[0].attribute.append(helper.make_attribute("more", numbers)))
    assert parse_graph(content).nodes[0].attributes["more"].tolist() == numbers


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_attributes_of_floats_keep_every_bit(numbers: list[float]) -> None:
    content = changed(lambda model: model.graph.node[0].attribute.append(helper.make_attribute("more", numbers)))
    assert parse_graph(content).nodes[0].attributes["more"].tolist() == numbers


def test_a_large_forest_is_read_in_a_moment() -> None:
    numbers = np.random.default_rng(1).integers(0, 2**40, 2_000_000).tolist()
    content = changed(lambda model: model.graph.node[0].attribute.append(helper.make_attribute("more", numbers)))
    assert parse_graph(content).nodes[0].attributes["more"].tolist() == numbers


def test_packed_numbers_that_are_cut_off_are_refused() -> None:
    assert varints(b"\x01\x80\x01", "t").tolist() == [1, 128]
    for content in (b"\x80", b"\x01\x80", b"\xff" * 11 + b"\x01"):
        with pytest.raises(BundleRejected):
            varints(content, "t")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_refusal(content: bytes) -> None:
    with pytest.raises(BundleRejected):
        check_graph(content, OUTPUT)


@settings(max_examples=500)
@given(st.integers(0, len(GRAPH) * 8 - 1), st.integers(0, len(GRAPH)))
def test_a_damaged_graph_is_read_or_refused_and_nothing_else(bit: int, kept: int) -> None:
    damaged = bytearray(GRAPH)
    damaged[bit // 8] ^= 1 << bit % 8
    for content in (bytes(damaged), bytes(damaged[:kept])):
        try:
            assert check_graph(content, OUTPUT) > 0
        except BundleRejected as error:
            assert str(error).startswith("compiled model: ")  # noqa: PT017  either is right


def test_too_many_nodes_or_dimensions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAXIMUM_NODES", 0)
    with pytest.raises(BundleRejected, match="1 nodes and 0 tensors"):
        parse_graph(GRAPH)


# --- rules --------------------------------------------------------------------------------------------------------


def test_a_good_graph_keeps_the_rules_and_says_how_many_features_it_takes() -> None:
    assert check_graph(GRAPH, OUTPUT) == 3


@pytest.mark.parametrize("name", operators.CLASSES)
@pytest.mark.parametrize("number", range(VARIANTS))
def test_no_hostile_graph_keeps_the_rules(tmp_path: Path, name: str, number: int) -> None:
    variant, content = make(name, Forge(tmp_path, random.Random(number)), number)
    if variant in LEFT_TO_A_RUN:
        return
    with pytest.raises(BundleRejected, match=r"^compiled model: "):
        check_graph(content, OUTPUT)


def asks(values: list[float]) -> bytes:
    def change(model: ModelProto) -> None:
        attributes = {attribute.name: attribute for attribute in model.graph.node[0].attribute}
        attributes["nodes_modes"].t.CopyFrom(helper.make_tensor("m", TensorProto.UINT8, [1], [6]))
        tensor = helper.make_tensor("v", TensorProto.DOUBLE, [len(values)], values)
        model.graph.node[0].attribute.append(helper.make_attribute("membership_values", tensor))

    return changed(change)


def test_a_set_of_whole_numbers_keeps_the_rules() -> None:
    assert check_graph(asks([-3.0, 0.0, 7.0, float("nan")]), OUTPUT) == 3


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "0 sets of membership_values for 1 nodes"),
        ([float("nan")], "is empty"),
        ([1.0], "0 sets"),
        ([1.0, float("nan"), 2.0], "1 sets"),
        ([1.0, float("nan"), 2.0, float("nan")], "2 sets"),
        ([2.0, 1.0, float("nan")], "not ascending"),
        ([1.5, float("nan")], "no whole numbers"),
        ([float("inf"), float("nan")], "no whole numbers"),
        ([2.0**31, float("nan")], "no whole numbers"),
    ],
)
def test_sets_that_do_not_fit_are_refused(values: list[float], why: str) -> None:
    with pytest.raises(BundleRejected, match=why):
        check_graph(asks(values), OUTPUT)


def test_the_columns_that_trees_make_are_known_to_what_comes_after_them() -> None:
    def stacked(feature: int) -> bytes:
        model = ModelProto.FromString(GRAPH)
        last = ModelProto.FromString(one_split_tree(1.0, 2.0, 4)).graph.node[0]
        next(each for each in last.attribute if each.name == "nodes_featureids").ints[0] = feature
        model.graph.node[0].output[0] = "tree"
        last.input[0] = "joined"
        model.graph.node.extend([helper.make_node("Concat", ["tree", "X"], ["joined"], axis=1), last])
        return bytes(model.SerializeToString())

    assert check_graph(stacked(3), OUTPUT) == 3
    with pytest.raises(BundleRejected, match="nodes_featureids holds 4"):
        check_graph(stacked(4), OUTPUT)


def test_a_value_of_a_record_may_not_reach_a_size_by_any_way() -> None:
    def grow(model: ModelProto) -> None:
        model.graph.node[0].output[0] = "tree"
        model.graph.initializer.append(helper.make_tensor("ones", TensorProto.INT64, [2], [1, 1]))
        model.graph.node.extend(
            [
                helper.make_node("Cast", ["tree"], ["whole"], to=TensorProto.INT64),
                helper.make_node("ReduceMax", ["whole"], ["most"], keepdims=1),
                helper.make_node("Mul", ["ones", "most"], ["size"]),
                helper.make_node("Expand", ["tree", "size"], ["raw"]),
            ]
        )

    with pytest.raises(BundleRejected, match="Expand takes a size from the values of a record"):
        check_graph(changed(grow), OUTPUT)


def test_a_size_may_come_from_the_number_of_records() -> None:
    def spread(model: ModelProto) -> None:
        model.graph.node[0].output[0] = "tree"
        model.graph.node.extend(
            [
                helper.make_node("Shape", ["tree"], ["size"]),
                helper.make_node("ConstantOfShape", ["size"], ["zeros"],
                                 value=helper.make_tensor("z", TensorProto.DOUBLE, [1], [0.0])),
                helper.make_node("Add", ["tree", "zeros"], ["raw"]),
            ]
        )  # fmt: skip

    assert check_graph(changed(spread), OUTPUT) == 3


def test_a_kernel_that_trusts_its_input_is_refused_where_the_width_is_not_known() -> None:
    def turn(model: ModelProto) -> None:
        model.graph.node[0].input[0] = "turned"
        kept = model.graph.node.pop()
        model.graph.node.append(helper.make_node("Transpose", ["X"], ["turned"], perm=[1, 0]))
        model.graph.node.append(kept)

    with pytest.raises(BundleRejected, match="how many columns come to TreeEnsemble cannot be told"):
        check_graph(changed(turn), OUTPUT)


def test_a_width_that_changed_on_the_way_counts() -> None:
    def narrow(model: ModelProto) -> None:
        kept = model.graph.node.pop()
        kept.input[0] = "fewer"
        kept.attribute.remove(next(a for a in kept.attribute if a.name == "nodes_featureids"))
        kept.attribute.append(helper.make_attribute("nodes_featureids", [2]))
        model.graph.initializer.append(helper.make_tensor("two", TensorProto.INT64, [2], [0, 1]))
        model.graph.node.append(helper.make_node("Gather", ["X", "two"], ["fewer"], axis=1))
        model.graph.node.append(kept)

    assert check_graph(GRAPH, OUTPUT) == 3
    with pytest.raises(BundleRejected, match=r"nodes_featureids holds 2, which is not in 0\.\.1"):
        check_graph(changed(narrow), OUTPUT)
