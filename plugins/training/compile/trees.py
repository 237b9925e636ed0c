"""Histogram gradient boosting as a float64 ``TreeEnsemble`` (``ai.onnx.ml`` 5) that equals scikit-learn bit for bit.

It is exact because every step is the same: thresholds and leaves stay float64, the comparison is ``<=``, missing values
go where the tree was grown to send them, and the sum takes the same order: ONNX Runtime adds the trees one after the
other, so the baseline goes first, as a tree whose two leaves are equal. The sigmoid stays outside the graph, since ONNX
Runtime's differs from the one of SciPy that scikit-learn uses.
"""
# ruff: noqa: SLF001  scikit-learn keeps the trees in private attributes; the parity gate watches over what is read

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper

from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Output, Task

OPSET = 18
TREE_OPSET = 5
IR_VERSION = 10

_SUM = 1
_NO_TRANSFORM = 0
_LESS_OR_EQUAL = 0


def is_boosting(estimator: Any) -> bool:
    """Whether this is one of scikit-learn's two histogram gradient boosting estimators."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # noqa: PLC0415

    return type(estimator) in {HistGradientBoostingClassifier, HistGradientBoostingRegressor}


def compile_boosting(estimator: Any, task: Task) -> tuple[bytes, Output]:
    """The graph, and how to run it.

    Raises:
        ConfigurationError: the estimator splits natively on categories, has several outputs, or a link that the
            manifest does not know.
    """
    link = _link(estimator, task)
    trees = [nodes for iteration in estimator._predictors for nodes in _only(iteration)]
    if getattr(estimator, "_preprocessor", None) is not None or any(nodes["is_categorical"].any() for nodes in trees):
        raise ConfigurationError(
            f"{type(estimator).__name__} splits natively on categories, which cannot be compiled yet; leave out "
            "categorical_features: category features are encoded as numbers"
        )
    baseline = float(np.ravel(estimator._baseline_prediction)[0])
    graph = _graph(_ensemble([_constant(baseline), *trees]), int(estimator.n_features_in_))
    return graph.SerializeToString(), Output(task=task, link=link, exact=True)


def _link(estimator: Any, task: Task) -> Link:
    name = type(estimator._loss.link).__name__
    links = {(Task.BINARY, "LogitLink"): Link.SIGMOID, (Task.REGRESSION, "IdentityLink"): Link.IDENTITY}
    if (task, name) not in links:
        raise ConfigurationError(
            f"{type(estimator).__name__} with the loss {estimator.loss!r} ({name}) cannot be compiled for a "
            f"{task.value} model; binary classification and losses of regression without a link can"
        )
    return links[task, name]


def _only(iteration: Sequence[Any]) -> list[npt.NDArray[np.void]]:
    if len(iteration) != 1:
        raise ConfigurationError(f"{len(iteration)} trees per iteration: only models with one output can be compiled")
    return [iteration[0].nodes]


def _constant(value: float) -> npt.NDArray[np.void]:
    """A tree of one leaf."""
    leaf = np.zeros(
        1,
        dtype=[
            ("value", "f8"),
            ("is_leaf", "u1"),
            ("feature_idx", "i8"),
            ("num_threshold", "f8"),
            ("left", "u4"),
            ("right", "u4"),
            ("missing_go_to_left", "u1"),
        ],
    )
    leaf["value"], leaf["is_leaf"] = value, 1
    return leaf


def _ensemble(trees: Sequence[npt.NDArray[np.void]]) -> dict[str, Any]:
    """The attributes of the operator: inner nodes and leaves of all trees, numbered through."""
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    nodes_before = leaves_before = 0
    roots: list[int] = []
    for tree in map(_with_a_split, trees):
        leaf = tree["is_leaf"].astype(bool)
        place = np.where(leaf, leaves_before + np.cumsum(leaf) - 1, nodes_before + np.cumsum(~leaf) - 1)
        inner = tree[~leaf]
        roots.append(int(place[0]))
        for name, column in {
            "nodes_featureids": inner["feature_idx"],
            "nodes_splits": inner["num_threshold"],
            "nodes_missing_value_tracks_true": inner["missing_go_to_left"],
            "nodes_truenodeids": place[inner["left"]],
            "nodes_trueleafs": leaf[inner["left"]].astype(int),
            "nodes_falsenodeids": place[inner["right"]],
            "nodes_falseleafs": leaf[inner["right"]].astype(int),
            "leaf_weights": tree["value"][leaf],
        }.items():
            parts.setdefault(name, []).append(column)
        nodes_before, leaves_before = nodes_before + len(inner), leaves_before + int(leaf.sum())
    return {name: np.concatenate(columns).tolist() for name, columns in parts.items()} | {"tree_roots": roots}


def _with_a_split(tree: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The operator knows no tree without a split: a single leaf becomes two equal ones."""
    if not tree["is_leaf"][0]:
        return tree
    split = np.concatenate([tree[:1], tree[:1], tree[:1]])
    split["is_leaf"] = [0, 1, 1]
    split["feature_idx"][0], split["num_threshold"][0], split["missing_go_to_left"][0] = 0, 0.0, 0
    split["left"][0], split["right"][0] = 1, 2
    return split


def _graph(ensemble: dict[str, Any], features: int) -> ModelProto:
    nodes, leaves = len(ensemble["nodes_featureids"]), len(ensemble["leaf_weights"])
    splits, weights = ensemble.pop("nodes_splits"), ensemble.pop("leaf_weights")
    output = Output(task=Task.REGRESSION)
    operator = helper.make_node(
        "TreeEnsemble",
        [output.input_name],
        [output.output_name],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=_SUM,
        post_transform=_NO_TRANSFORM,
        nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [nodes], [_LESS_OR_EQUAL] * nodes),
        nodes_splits=helper.make_tensor("splits", TensorProto.DOUBLE, [nodes], splits),
        leaf_weights=helper.make_tensor("weights", TensorProto.DOUBLE, [leaves], weights),
        leaf_targetids=[0] * leaves,
        **ensemble,
    )
    graph = helper.make_graph(
        [operator],
        "trees",
        [helper.make_tensor_value_info(output.input_name, TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info(output.output_name, TensorProto.DOUBLE, [None, 1])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="baton")
