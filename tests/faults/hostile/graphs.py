"""Hostile graphs: validly signed, with true digests, and wrong inside. Each gives the scores that its golden rows want,
as far as it gives any, so that nothing but the rules stands between it and the stream.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from tests.support.bundles import THRESHOLD, one_split_tree, small_schema
from tests.support.forge import Forge

FEATURES = len(small_schema().features)
BELOW, ABOVE = 2.25, 2.75
Spoil = Callable[[Forge, ModelProto], bytes | None]


def make(name: str, forge: Forge, number: int) -> tuple[str, bytes]:
    """One graph of a class: its variant, and its bytes."""
    variants = _CLASSES[name]
    spoil = variants[number % len(variants)]
    model = ModelProto.FromString(one_split_tree(BELOW, ABOVE, FEATURES))
    content = spoil(forge, model)
    return spoil.__name__.strip("_").replace("_", " "), content if content is not None else _bytes(model)


def _bytes(model: ModelProto) -> bytes:
    return bytes(model.SerializeToString())


def _before(model: ModelProto, *nodes: NodeProto) -> None:
    """Nodes beside the tree whose results nobody uses."""
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])


def _merged(model: ModelProto, value: str, *nodes: NodeProto) -> None:
    """Nodes whose result ``value``, of one double, is multiplied by zero and added to every score."""
    model.graph.node[0].output[0] = "tree"
    zero = helper.make_tensor("zero", TensorProto.DOUBLE, [1], [0.0])
    model.graph.initializer.append(zero)
    _before(model, *nodes)
    model.graph.node.append(helper.make_node("Mul", [value, "zero"], ["nothing"]))
    model.graph.node.append(helper.make_node("Add", ["tree", "nothing"], ["raw"]))


def _attribute(model: ModelProto, name: str) -> AttributeProto:
    return next(found for found in model.graph.node[0].attribute if found.name == name)


def _set(model: ModelProto, name: str, value: Any) -> None:
    found = _attribute(model, name)
    model.graph.node[0].attribute.remove(found)
    model.graph.node[0].attribute.append(helper.make_attribute(name, value))


def _tensor(name: str, values: Any, data_type: int = TensorProto.DOUBLE) -> TensorProto:
    return helper.make_tensor(name, data_type, [len(values)], values)


# --- data outside the file ----------------------------------------------------------------------------------------

_PLACES = (
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "weights.bin",
    "",
    "file:///etc/passwd",
    "..\\..\\secret",
    "/dev/stdin",
    "manifest.json",
    "a/../../b",
    "/etc/\0passwd",
)


def _outside(chooser: random.Random, tensor: TensorProto, *, data: bool = False) -> None:
    if not data:
        for field in ("raw_data", "double_data", "int64_data", "int32_data", "float_data"):
            tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    pairs = {"location": chooser.choice(_PLACES), "offset": str(chooser.choice((0, 8, -1, 2**62))), "length": "8"}
    for key, value in pairs.items():
        tensor.external_data.add(key=key, value=value)


def _an_initializer_outside_the_file(forge: Forge, model: ModelProto) -> None:
    tensor = _tensor("outside", [0.0])
    _outside(forge.chooser, tensor)
    model.graph.initializer.append(tensor)
    _merged(model, "outside")


def _an_attribute_outside_the_file(forge: Forge, model: ModelProto) -> None:
    _outside(forge.chooser, _attribute(model, forge.chooser.choice(("nodes_splits", "leaf_weights"))).t)


def _an_address_beside_the_data(forge: Forge, model: ModelProto) -> None:
    tensor = _tensor("outside", [0.0])
    _outside(forge.chooser, tensor, data=True)
    if forge.chooser.random() < 0.5:
        tensor.data_location = TensorProto.DEFAULT
    model.graph.initializer.append(tensor)
    _merged(model, "outside")


def _a_constant_outside_the_file(forge: Forge, model: ModelProto) -> None:
    tensor = _tensor("c", [0.0])
    _outside(forge.chooser, tensor)
    _merged(model, "constant", helper.make_node("Constant", [], ["constant"], value=tensor))


# --- references out of range --------------------------------------------------------------------------------------


def _far(forge: Forge) -> int:
    return forge.chooser.choice((3, 4, 7, 100, 10**6, 2**31 - 1, 2**31, 2**40, 2**62, -1, -2, -(2**31), -(2**63)))


def _a_feature_beyond_the_row(forge: Forge, model: ModelProto) -> None:
    _set(model, "nodes_featureids", [_far(forge)])


def _a_node_that_is_not_there(forge: Forge, model: ModelProto) -> None:
    side = forge.chooser.choice(("true", "false"))
    _set(model, f"nodes_{side}nodeids", [_far(forge)])
    if forge.chooser.random() < 0.5:
        _set(model, f"nodes_{side}leafs", [0])


def _a_tree_that_leads_back(forge: Forge, model: ModelProto) -> None:
    side = forge.chooser.choice(("true", "false"))
    _set(model, f"nodes_{side}nodeids", [0])
    _set(model, f"nodes_{side}leafs", [0])


def _a_target_beyond_the_result(forge: Forge, model: ModelProto) -> None:
    _set(model, "leaf_targetids", [0, _far(forge)])


def _a_root_that_is_not_there(forge: Forge, model: ModelProto) -> None:
    _set(model, "tree_roots", [min(abs(_far(forge)), 2**62)] if forge.chooser.random() < 0.5 else [0, 0])


def _lists_of_other_lengths(forge: Forge, model: ModelProto) -> None:
    name = forge.chooser.choice(
        (
            "nodes_featureids",
            "nodes_truenodeids",
            "nodes_falsenodeids",
            "nodes_trueleafs",
            "nodes_falseleafs",
            "nodes_missing_value_tracks_true",
            "leaf_targetids",
            "nodes_splits",
            "leaf_weights",
            "nodes_modes",
        )
    )
    longer = forge.chooser.randint(2, 50)
    if name in {"nodes_splits", "leaf_weights"}:
        _set(model, name, _tensor(name, [0.5] * (longer + 1)))
    elif name == "nodes_modes":
        _set(model, name, _tensor(name, [0] * longer, TensorProto.UINT8))
    else:
        _set(model, name, [0] * (longer + 1))


def _strange_modes(forge: Forge, model: ModelProto) -> None:
    _set(model, "nodes_modes", _tensor("m", [forge.chooser.choice((6, 7, 8, 100, 255))], TensorProto.UINT8))


def _a_root_that_is_taken_for_a_leaf(forge: Forge, model: ModelProto) -> None:
    """Both sides of a root are one leaf: ONNX Runtime then reads the leaf of the root's own number."""
    nodes = forge.chooser.choice((2, 10, 1_000))
    _replace_tree(
        model,
        nodes_featureids=[0] * nodes,
        nodes_splits=_tensor("s", [THRESHOLD] * nodes),
        nodes_modes=_tensor("m", [0] * nodes, TensorProto.UINT8),
        nodes_truenodeids=[0] * nodes,
        nodes_trueleafs=[1] * nodes,
        nodes_falsenodeids=[0] * nodes,
        nodes_falseleafs=[1] * nodes,
        nodes_missing_value_tracks_true=[0] * nodes,
        leaf_targetids=[0],
        leaf_weights=_tensor("w", [ABOVE]),
        tree_roots=[nodes - 1],
    )


def _sets_that_do_not_fit(forge: Forge, model: ModelProto) -> None:
    """ONNX Runtime looks for the largest member of each set, whether there is one or not."""
    nan, inf = float("nan"), float("inf")
    values = forge.chooser.choice(
        (
            [],
            [nan],
            [nan, nan],
            [1.0],
            [1.0, 2.0],
            [1.0, nan, 2.0],
            [1.0, nan, 2.0, nan],
            [2.0, 1.0, nan],
            [1.0, 1.0, nan],
            [0.5, nan],
            [inf, nan],
            [-inf, 1.0, nan],
            [2.0**31, nan],
            [1e300, nan],
        )
    )
    _set(model, "nodes_modes", _tensor("m", [6], TensorProto.UINT8))
    model.graph.node[0].attribute.append(helper.make_attribute("membership_values", _tensor("v", values)))


def _a_set_that_nothing_asks_for(forge: Forge, model: ModelProto) -> None:
    values = [float(forge.chooser.randrange(100)), float("nan")]
    model.graph.node[0].attribute.append(helper.make_attribute("membership_values", _tensor("v", values)))


def _a_chain_of_sets(forge: Forge, model: ModelProto) -> None:
    """Within the depth that is allowed; but each small set becomes thirty nodes one behind the other."""
    depth = forge.chooser.choice((40, 500, 999))
    members = [*map(float, range(30)), float("nan")]
    _replace_tree(
        model,
        nodes_featureids=[0] * depth,
        nodes_splits=_tensor("s", [0.0] * depth),
        nodes_modes=_tensor("m", [6] * depth, TensorProto.UINT8),
        nodes_truenodeids=[*range(1, depth), depth],
        nodes_trueleafs=[0] * (depth - 1) + [1],
        nodes_falsenodeids=[*range(depth)],
        nodes_falseleafs=[1] * depth,
        nodes_missing_value_tracks_true=[0] * depth,
        leaf_targetids=[0] * (depth + 1),
        leaf_weights=_tensor("w", [ABOVE] * depth + [BELOW]),
        tree_roots=[0],
        membership_values=_tensor("v", members * depth),
    )


def _a_tree_without_end(forge: Forge, model: ModelProto) -> None:
    """A list of nodes, each below the one before: recursion overflows its stack."""
    depth = forge.chooser.choice((1_500, 20_000, 100_000))
    _replace_tree(
        model,
        nodes_featureids=[0] * depth,
        nodes_splits=_tensor("s", [THRESHOLD] * depth),
        nodes_modes=_tensor("m", [0] * depth, TensorProto.UINT8),
        nodes_truenodeids=[*range(1, depth), 1],
        nodes_trueleafs=[0] * (depth - 1) + [1],
        nodes_falsenodeids=[0] * depth,
        nodes_falseleafs=[1] * depth,
        nodes_missing_value_tracks_true=[0] * depth,
        leaf_targetids=[0, 0],
        leaf_weights=_tensor("w", [ABOVE, BELOW]),
        tree_roots=[0],
    )


def _two_nodes_that_lead_to_each_other(forge: Forge, model: ModelProto) -> None:
    """Golden rows stop at the first node; a record with a value that none of them has goes round for ever."""
    _replace_tree(
        model,
        nodes_featureids=[0, 0, 1, 1],
        nodes_splits=_tensor("s", [THRESHOLD, 1e6, 1e9, 1e9]),
        nodes_modes=_tensor("m", [0, 0, 0, 0], TensorProto.UINT8),
        nodes_truenodeids=[0, 1, 3, 2],
        nodes_trueleafs=[1, 1, 0, 0],
        nodes_falsenodeids=[1, 2, 3, 2],
        nodes_falseleafs=[0, 0, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0, 0],
        leaf_targetids=[0, 0],
        leaf_weights=_tensor("w", [BELOW, ABOVE]),
        tree_roots=[0],
    )


def _replace_tree(model: ModelProto, **attributes: Any) -> None:
    del model.graph.node[:]
    model.graph.node.append(
        helper.make_node(
            "TreeEnsemble",
            ["X"],
            ["raw"],
            domain="ai.onnx.ml",
            n_targets=1,
            aggregate_function=1,
            post_transform=0,
            **attributes,
        )
    )


def _an_old_tree_with_wrong_indices(forge: Forge, model: ModelProto) -> None:
    attributes: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_values": [THRESHOLD, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_missing_value_tracks_true": [0, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [BELOW, ABOVE],
        "n_targets": 1,
    }
    name, place = forge.chooser.choice(
        (
            ("nodes_featureids", 0),
            ("nodes_truenodeids", 0),
            ("nodes_falsenodeids", 0),
            ("target_ids", 0),
            ("target_nodeids", 1),
            ("target_treeids", 1),
            ("nodes_nodeids", 2),
        )
    )
    wrong = {"nodes_truenodeids": 0, "nodes_falsenodeids": 0, "nodes_nodeids": 1}.get(name)
    attributes[name][place] = wrong if wrong is not None and forge.chooser.random() < 0.4 else _far(forge)
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["X"], ["narrow"], to=TensorProto.FLOAT),
            helper.make_node("TreeEnsembleRegressor", ["narrow"], ["sum"], domain="ai.onnx.ml", **attributes),
            helper.make_node("Cast", ["sum"], ["raw"], to=TensorProto.DOUBLE),
        ]
    )
    _ml_version(model, 3)


def _too_few_coefficients(forge: Forge, model: ModelProto) -> None:
    """A linear model or support vectors whose table is shorter than the row that comes."""
    few = forge.chooser.choice((1, 2, 4, 5, 100))
    choices: tuple[tuple[str, dict[str, Any]], ...] = (
        ("LinearRegressor", {"coefficients": [0.5] * few, "targets": 1}),
        ("LinearRegressor", {"coefficients": [0.5] * FEATURES, "targets": forge.chooser.choice((2, 1000, 2**31))}),
        (
            "SVMRegressor",
            {
                "coefficients": [0.5] * 2,
                "support_vectors": [0.5] * few,
                "n_supports": 2,
                "rho": [0.0],
                "kernel_type": "RBF",
                "kernel_params": [0.5, 0.0, 3.0],
            },
        ),
        (
            "SVMRegressor",
            {
                "coefficients": [0.5],
                "support_vectors": [0.5] * FEATURES,
                "n_supports": 2**33,
                "rho": [0.0],
                "kernel_type": "LINEAR",
            },
        ),
    )
    op, attributes = forge.chooser.choice(choices)
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["X"], ["narrow"], to=TensorProto.FLOAT),
            helper.make_node(op, ["narrow"], ["sum"], domain="ai.onnx.ml", **attributes),
            helper.make_node("Cast", ["sum"], ["raw"], to=TensorProto.DOUBLE),
        ]
    )


def _labels_that_are_not_there(forge: Forge, model: ModelProto) -> None:
    attributes: dict[str, Any] = {
        "coefficients": [0.5] * FEATURES * 3,
        "intercepts": [0.0, 0.1, 0.2],
        "classlabels_ints": [0] * forge.chooser.choice((1, 2, 4)),
    }
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["X"], ["narrow"], to=TensorProto.FLOAT),
            helper.make_node("LinearClassifier", ["narrow"], ["label", "scores"], domain="ai.onnx.ml", **attributes),
            helper.make_node("Cast", ["scores"], ["raw"], to=TensorProto.DOUBLE),
        ]
    )


def _ml_version(model: ModelProto, version: int) -> None:
    for opset in model.opset_import:
        if opset.domain == "ai.onnx.ml":
            opset.version = version


REFERENCES: tuple[Spoil, ...] = (
    _a_feature_beyond_the_row,
    _a_node_that_is_not_there,
    _a_tree_that_leads_back,
    _a_target_beyond_the_result,
    _a_root_that_is_not_there,
    _lists_of_other_lengths,
    _strange_modes,
    _a_tree_without_end,
    _two_nodes_that_lead_to_each_other,
    _an_old_tree_with_wrong_indices,
    _too_few_coefficients,
    _labels_that_are_not_there,
    _a_root_that_is_taken_for_a_leaf,
    _sets_that_do_not_fit,
    _a_set_that_nothing_asks_for,
    _a_chain_of_sets,
)
OUTSIDE: tuple[Spoil, ...] = (
    _an_initializer_outside_the_file,
    _an_attribute_outside_the_file,
    _an_address_beside_the_data,
    _a_constant_outside_the_file,
)
_CLASSES: dict[str, tuple[Spoil, ...]] = {"data outside the file": OUTSIDE, "references out of range": REFERENCES}


def register(classes: Mapping[str, tuple[Spoil, ...]]) -> None:
    """Further classes, from the module beside this one."""
    _CLASSES.update(classes)


def zeros(*dims: int) -> TensorProto:
    """A tensor of int64 that spells out a shape."""
    return helper.make_tensor("shape", TensorProto.INT64, [len(dims)], np.array(dims, np.int64).tolist())
