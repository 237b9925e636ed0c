"""A model whose scores show version, record and looked-up value in every bit, and the same sum in numpy alone.

Six trees of one split each; the leaves are fractions that a float cannot hold exactly, so that the order of additions
matters. ``expected`` shares no code with the scorer.
"""

import random
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from scoring.contract.features import FeatureSchema
from scoring.contract.golden import GoldenRow, encode_golden
from scoring.contract.manifest import FORMAT, GOLDEN_FILE, MODEL_FILE, Manifest, Output, Snapshot, Source, Task, Topics
from scoring.scorer.bundle import Bundle, write_bundle
from scoring.scorer.scorer import Scorer, lookup_columns
from tests.support.bundles import COLORS, MOMENT

Floats = npt.NDArray[np.float64]
TREES = 6
X, HOUR, WIND = 0, 2, 3  # places of the features of ``small_schema``


class Tree(msgspec.Struct, frozen=True):
    """One split: ``below`` where the feature is at most ``threshold``, else (also where it is missing) ``above``."""

    feature: int
    threshold: float
    below: float
    above: float


def trees(version: int, *, wind: bool) -> list[Tree]:
    """The trees of a version."""
    chooser = random.Random(f"forest {version}")
    features = [X, HOUR, X, WIND if wind else X, HOUR, X]
    return [
        Tree(
            feature=feature,
            threshold=chooser.uniform(0.05, 0.95) * {X: 1.0, HOUR: 23.0, WIND: 10.0}[feature],
            below=chooser.uniform(-0.3, 0.3),
            above=version + chooser.uniform(-0.3, 0.3) if place == 0 else chooser.uniform(-0.3, 0.3),
        )
        for place, feature in enumerate(features[:TREES])
    ]


def threshold_of(version: int) -> float:
    """The decision's threshold."""
    return version / 2.0


def expected(version: int, x: Floats, hour: Floats, wind: Floats | None) -> Floats:
    """The scores of a version, one per record."""
    columns = {X: x, HOUR: hour, **({} if wind is None else {WIND: wind})}
    total = np.zeros(len(x))
    for tree in trees(version, wind=wind is not None):
        total = total + np.where(columns[tree.feature] <= tree.threshold, tree.below, tree.above)
    return total


def record(number: int) -> bytes:
    """The input record with this number."""
    moment = datetime.fromtimestamp(MOMENT.timestamp() + number, UTC)
    x = (number * 2_654_435_761 % 2**32) / 2**32
    return msgspec.json.encode({"id": f"r-{number:08d}", "at": moment, "x": x, "color": COLORS[number % 3]})


def graph_of(version: int, features: int, *, wind: bool) -> bytes:
    """The ONNX graph of a version; float64."""
    made = trees(version, wind=wind)
    count = len(made)
    weights = [leaf for tree in made for leaf in (tree.below, tree.above)]
    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
        nodes_featureids=[tree.feature for tree in made],
        nodes_splits=helper.make_tensor("s", TensorProto.DOUBLE, [count], [tree.threshold for tree in made]),
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [count], [0] * count),
        nodes_truenodeids=[2 * place for place in range(count)],
        nodes_falsenodeids=[2 * place + 1 for place in range(count)],
        nodes_trueleafs=[1] * count,
        nodes_falseleafs=[1] * count,
        nodes_missing_value_tracks_true=[0] * count,
        leaf_targetids=[0] * (2 * count),
        leaf_weights=helper.make_tensor("w", TensorProto.DOUBLE, [2 * count], weights),
        tree_roots=list(range(count)),
    )
    graph = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def write_forest(
    folder: Path, version: int, schema: FeatureSchema, topics: Topics, *, golden_error: float = 0.0
) -> str:
    """Write the bundle of a version; returns the manifest's digest."""
    manifest = Manifest(
        format=FORMAT,
        model=topics.input.removesuffix(".input"),
        created_at=MOMENT,
        schema=schema,
        output=Output(task=Task.REGRESSION, threshold=threshold_of(version), exact=True),
        topics=topics,
        sources=(Source(connection="warehouse", table="records", columns=(("id", "id"),)),),
        pass_through=("id", "color"),
        snapshot=Snapshot(
            sha256="0" * 64, start=MOMENT, end=MOMENT, holdout_start=MOMENT, training_rows=1, holdout_rows=1
        ),
        estimator="a forest of stumps",
        metrics={},
        verdicts=(),
        files={},
    )
    graph = graph_of(version, len(schema.features), wind=bool(schema.lookups))
    golden = _golden(manifest, graph, golden_error)
    return write_bundle(folder, manifest, {MODEL_FILE: graph, GOLDEN_FILE: encode_golden(golden)})


def _golden(manifest: Manifest, graph: bytes, error: float) -> tuple[GoldenRow, ...]:
    messages = [record(number * 977) for number in range(20)]
    scorer = Scorer(Bundle(Path(), manifest, "", graph, ()))
    columns = scorer.decode(messages).columns
    columns.update(lookup_columns(scorer, [{}] * len(messages)))
    scores = scorer.score(columns, len(messages)) + np.float64(error)
    return tuple(
        GoldenRow(message=message, estimator=score, compiled=score)
        for message, score in zip(messages, scores.tolist(), strict=True)
    )
