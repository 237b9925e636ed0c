"""Bundles made by hand: one small tree whose leaves tell which version scored."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
from onnx import TensorProto, helper

from scoring.contract.features import Category, Feature, FeatureSchema, Field, FieldType, HourOfDay, Lookup, Number
from scoring.contract.golden import GoldenRow, encode_golden
from scoring.contract.manifest import (
    FORMAT,
    GOLDEN_FILE,
    MODEL_FILE,
    Manifest,
    Output,
    Snapshot,
    Source,
    Task,
    Topics,
)
from scoring.scorer.bundle import Bundle, open_bundle, write_bundle
from scoring.scorer.scorer import Scorer, lookup_columns

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
THRESHOLD = 0.5
COLORS = ("blue", "green", "red")


def small_schema(lookups: tuple[Lookup, ...] = ()) -> FeatureSchema:
    """A key, an event time, a number, a word and whatever the lookups bring."""
    numbers = [(lu.name, f.name) for lu in lookups for f in lu.fields if f.type is FieldType.NUMBER]
    extra = [Number(name=f"{lookup}_{field}", of=f"{lookup}.{field}") for lookup, field in numbers]
    features: tuple[Feature, ...] = (
        Number(name="x", of="x"),
        Category(name="color", of="color", vocabulary=COLORS),
        HourOfDay(name="hour", of="at"),
        *extra,
    )
    return FeatureSchema(
        key="id",
        event_time="at",
        fields=(
            Field(name="id", type=FieldType.STRING, required=True),
            Field(name="at", type=FieldType.TIME, required=True),
            Field(name="x", type=FieldType.NUMBER, required=True),
            Field(name="color", type=FieldType.STRING),
        ),
        lookups=lookups,
        features=features,
    )


def one_split_tree(below: float, above: float, features: int, threshold: float = THRESHOLD) -> bytes:
    """An ONNX graph: ``below`` where the first feature is at most ``threshold``, else ``above``; float64."""
    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
        nodes_featureids=[0],
        nodes_splits=helper.make_tensor("s", TensorProto.DOUBLE, [1], [threshold]),
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [1], [0]),
        nodes_truenodeids=[0],
        nodes_falsenodeids=[1],
        nodes_trueleafs=[1],
        nodes_falseleafs=[1],
        nodes_missing_value_tracks_true=[0],
        leaf_targetids=[0, 0],
        leaf_weights=helper.make_tensor("w", TensorProto.DOUBLE, [2], [below, above]),
        tree_roots=[0],
    )
    graph = helper.make_graph(
        [node],
        "one_split",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def small_record(number: int) -> dict[str, object]:
    """The record with this number: its x alternates around the threshold."""
    return {
        "id": f"r-{number:08d}",
        "at": datetime.fromtimestamp(MOMENT.timestamp() + number, UTC),
        "x": (number % 10) / 10,
        "color": COLORS[number % 3],
    }


def score_of(version: int, number: int) -> float:
    """What ``version`` predicts for ``small_record(number)``."""
    return version + (0.25 if (number % 10) / 10 <= THRESHOLD else 0.75)


def make_bundle(
    folder: Path,
    version: int,
    *,
    model: str = "small",
    topics: Topics | None = None,
    schema: FeatureSchema | None = None,
    golden_error: float = 0.0,
    filler: str = "",
    sources: tuple[Source, ...] | None = None,
    snapshot: Snapshot | None = None,
    created_at: datetime = MOMENT,
    frozen: Mapping[str, bytes] = MappingProxyType({}),
) -> str:
    """Write the bundle whose predictions are ``score_of(version, …)``; returns the manifest's digest.

    Args:
        golden_error: added to the golden rows' expected output, for a bundle that must be refused.
        frozen: the files of frozen lookups, by their names.
    """
    used = schema or small_schema()
    manifest = Manifest(
        format=FORMAT,
        model=model,
        created_at=created_at,
        schema=used,
        output=Output(task=Task.REGRESSION, threshold=version + 0.5, exact=True),
        topics=topics or Topics.of(model),
        sources=sources or (Source(connection="warehouse", table="records", columns=(("id", "id"),)),),
        pass_through=("id", "color"),
        snapshot=snapshot
        or Snapshot(
            sha256="0" * 64,
            start=MOMENT,
            end=MOMENT,
            holdout_start=MOMENT,
            training_rows=1,
            holdout_rows=1,
        ),
        estimator=f"one split {filler}",
        metrics={},
        verdicts=(),
        files={},
    )
    graph = one_split_tree(version + 0.25, version + 0.75, len(used.features))
    golden = _golden(manifest, graph, golden_error, frozen)
    return write_bundle(folder, manifest, {MODEL_FILE: graph, GOLDEN_FILE: encode_golden(golden), **frozen})


def small_bundle(folder: Path, version: int = 1) -> Bundle:
    """A bundle on disk, opened."""
    return open_bundle(folder, make_bundle(folder, version))


def _golden(manifest: Manifest, graph: bytes, error: float, frozen: Mapping[str, bytes]) -> tuple[GoldenRow, ...]:
    messages = [msgspec.json.encode(small_record(number)) for number in range(20)]
    scorer = Scorer(Bundle(Path(), manifest, "", graph, (), frozen))
    columns = scorer.decode(messages).columns
    columns.update(lookup_columns(scorer, [{}] * len(messages)))
    scores = scorer.score(columns, len(messages)) + np.float64(error)
    return tuple(
        GoldenRow(message=message, estimator=score, compiled=score)
        for message, score in zip(messages, scores.tolist(), strict=True)
    )
