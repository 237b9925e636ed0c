"""A bundle of three classes made by hand."""

from pathlib import Path
from typing import Any

import msgspec
from onnx import TensorProto, helper

from scoring.contract.golden import GoldenRow, encode_golden
from scoring.contract.manifest import GOLDEN_FILE, MODEL_FILE, Link, Manifest, Output, Task
from scoring.scorer.bundle import Bundle, open_bundle, write_bundle
from scoring.scorer.scorer import Scorer
from tests.support.bundles import THRESHOLD, make_bundle, small_record

# The last one has to be escaped in JSON.
CLASSES = ("early", "on time", 'so-called "late"')
BELOW, ABOVE = (0.125, 0.625, 0.25), (0.375, 0.375, 0.25)


def graph_of_classes(below: tuple[float, ...] = BELOW, above: tuple[float, ...] = ABOVE, features: int = 3) -> bytes:
    """A split of the first feature for each class: the probabilities below and above the threshold."""
    count = len(below)
    leaves = [leaf for pair in zip(below, above, strict=True) for leaf in pair]
    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=count,
        aggregate_function=1,
        post_transform=0,
        nodes_featureids=[0] * count,
        nodes_splits=helper.make_tensor("s", TensorProto.DOUBLE, [count], [THRESHOLD] * count),
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [count], [0] * count),
        nodes_truenodeids=[2 * place for place in range(count)],
        nodes_falsenodeids=[2 * place + 1 for place in range(count)],
        nodes_trueleafs=[1] * count,
        nodes_falseleafs=[1] * count,
        nodes_missing_value_tracks_true=[0] * count,
        leaf_targetids=[place for place in range(count) for _ in range(2)],
        leaf_weights=helper.make_tensor("w", TensorProto.DOUBLE, [2 * count], leaves),
        tree_roots=list(range(count)),
    )
    graph = helper.make_graph(
        [node],
        "classes",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, count])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def probabilities(number: int) -> tuple[float, ...]:
    """What the bundle predicts for ``small_record(number)``."""
    return BELOW if (number % 10) / 10 <= THRESHOLD else ABOVE


def bundle_of_classes(folder: Path, graph: bytes | None = None, **output: Any) -> Bundle:
    """Write the bundle whose predictions are ``probabilities``, and open it."""
    plain = folder.with_name(f"{folder.name}-plain")
    make_bundle(plain, 1)
    values: dict[str, Any] = {"task": Task.MULTICLASS, "link": Link.IDENTITY, "exact": True, "classes": CLASSES}
    manifest: Manifest = msgspec.structs.replace(open_bundle(plain).manifest, output=Output(**{**values, **output}))
    model = graph or graph_of_classes()
    messages = [msgspec.json.encode(small_record(number)) for number in range(20)]
    scorer = Scorer(Bundle(Path(), manifest, "", model, ()))
    scores = scorer.score(scorer.decode(messages).columns, len(messages))
    rows = tuple(
        GoldenRow(message=message, estimator=tuple(score), compiled=tuple(score))
        for message, score in zip(messages, scores.tolist(), strict=True)
    )
    write_bundle(folder, manifest, {MODEL_FILE: model, GOLDEN_FILE: encode_golden(rows)})
    return open_bundle(folder)
