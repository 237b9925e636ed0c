"""Train: fit the estimator on the rows before the holdout, compile it, and keep both results as a candidate."""

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scoring.contract.clock import from_epoch_s
from scoring.contract.digest import Digest
from scoring.contract.encoder import Columns, Encoder, Floats
from scoring.contract.features import Category, Feature, FeatureSchema
from scoring.contract.manifest import Task
from scoring.contract.verdict import Judgement
from scoring.settings import Settings
from training.candidate import Candidate, write_candidate
from training.compile import Compiled, compile_model, predict
from training.definition import ModelDefinition
from training.errors import TrainingImpossible
from training.frozen import staged_tables
from training.pull import column_types, run_folder
from training.results import RunRequest, SnapshotRef, Trained, Validated
from training.reuse import TRAINED, find_kept, keep, training_key
from training.rows import Mask, Split, split, targets, where
from training.snapshot import read_snapshot

# The forms of a conversion are compared on this many rows; the parity gate looks at all of them.
SAMPLE_ROWS = 2_000


def train(
    definition: ModelDefinition, request: RunRequest, settings: Settings, snapshot: SnapshotRef, validated: Validated
) -> Trained | None:
    """Make a candidate (see ``training.pipeline``)."""
    if validated.verdict.judgement is not Judgement.PASS:
        return None
    columns = read_snapshot(snapshot, column_types(definition))
    holdout_start = definition.holdout_start(snapshot.end)
    parts = split(definition, columns, holdout_start)
    wanted = targets(definition, columns)
    _check(definition, snapshot, holdout_start, parts, wanted)
    tables = staged_tables(definition, run_folder(settings, "staged", request))

    def made(rows: Mask, *, refit: bool) -> Made:
        folder = run_folder(settings, "refits" if refit else "candidates", request)
        key = training_key(definition, snapshot, tables, refit=refit)
        if find_kept(settings, TRAINED, definition.name, key, folder):
            return Made(folder, key, reused=True)
        _make(definition, columns, wanted, rows, parts.holdout, folder, tables)
        keep(settings, TRAINED, definition.name, key, folder)
        return Made(folder, key, reused=False)

    judged = made(parts.training, refit=False)
    trained = _trained(judged, holdout_start, parts)
    if not definition.refit:
        return trained
    whole = parts.training | parts.in_gap | parts.holdout
    scoring = made(whole, refit=True)
    return msgspec.structs.replace(trained, refit_folder=str(scoring.folder), refit_rows=int(whole.sum()))


class Made(msgspec.Struct, frozen=True):
    """A candidate's folder, and whether an earlier run trained what is in it."""

    folder: Path
    key: Digest
    reused: bool


def _make(
    definition: ModelDefinition,
    columns: Columns,
    wanted: Floats,
    training: Mask,
    holdout: Mask,
    folder: Path,
    tables: Mapping[str, bytes],
) -> None:
    """Fit on the training rows, compile, and write both with the estimator's own scores of the holdout."""
    fitted = fit(definition, columns, training, wanted)
    compiled = _compile(definition, fitted, training)
    candidate = Candidate(
        schema=fitted.schema,
        output=compiled.output,
        estimator=repr(definition.estimator),
        training_mean=float(wanted[training].mean()),
        training_shares=_shares(definition, wanted[training]),
        newest_training_event=from_epoch_s(float(np.max(np.asarray(columns[definition.event_time])[training]))),
    )
    own = predict(fitted.estimator, definition.task, fitted.matrix[holdout])
    write_candidate(folder, candidate, compiled.graph, own, tables)


class Fitted(msgspec.Struct, frozen=True):
    """A fitted estimator.

    Attributes:
        schema: with the vocabularies of the training rows.
        matrix: all rows of the snapshot, encoded.
    """

    estimator: Any
    schema: FeatureSchema
    matrix: Floats


def fit(definition: ModelDefinition, columns: Columns, training: Mask, wanted: Floats) -> Fitted:
    """Fit a new estimator on the training rows; nothing is learnt from any other row.

    Args:
        columns: of the whole snapshot.
        wanted: what is to be predicted, for the whole snapshot.
    """
    schema = with_vocabularies(definition.schema, where(columns, training))
    matrix = Encoder(schema).encode(columns, len(training))
    estimator = definition.estimator.build()
    labels = wanted[training]
    estimator.fit(matrix[training], labels if definition.task is Task.REGRESSION else labels.astype(np.int64))
    return Fitted(estimator, schema, matrix)


def with_vocabularies(schema: FeatureSchema, training: Columns) -> FeatureSchema:
    """The schema with the vocabulary of each category: the strings of the training rows, sorted."""

    def filled(feature: Feature) -> Feature:
        if not isinstance(feature, Category):
            return feature
        words = {word for word in training[feature.of] if word is not None}
        return msgspec.structs.replace(feature, vocabulary=tuple(sorted(map(str, words))))

    return msgspec.structs.replace(schema, features=tuple(map(filled, schema.features)))


def _compile(definition: ModelDefinition, fitted: Fitted, training: Mask) -> Compiled:
    rows = fitted.matrix[training]
    return compile_model(
        fitted.estimator,
        definition.task,
        rows[:: max(1, math.ceil(len(rows) / SAMPLE_ROWS))],
        tolerance=definition.gates.parity_tolerance,
        threshold=definition.threshold,
        classes=definition.label.classes,
    )


def _check(
    definition: ModelDefinition, snapshot: SnapshotRef, holdout_start: datetime, parts: Split, wanted: Floats
) -> None:
    for name, mask in (("before the holdout", parts.training), ("in the holdout", parts.holdout)):
        found = wanted[mask]
        if len(found) == 0:
            problem = "no row with a known label"
        elif definition.task is not Task.REGRESSION and len(np.unique(found)) < 2:
            problem = "only one class"
        elif mask is parts.training and (absent := _absent(definition, found)):
            problem = f"no row of {' and none of '.join(map(repr, absent))}"
        else:
            continue
        raise TrainingImpossible(
            f"{definition.name}: there is {problem} {name} (data {snapshot.start:%Y-%m-%d} to {snapshot.end:%Y-%m-%d}, "
            f"holdout from {holdout_start:%Y-%m-%d}, {snapshot.rows} rows); widen the interval or look at the source"
        )


def _absent(definition: ModelDefinition, labels: Floats) -> list[str]:
    """The classes of which there is no row: an estimator that never saw one cannot predict it."""
    return [name for place, name in enumerate(definition.label.classes) if not (labels == place).any()]


def _shares(definition: ModelDefinition, labels: Floats) -> tuple[float, ...]:
    return tuple(float(np.mean(labels == place)) for place, _ in enumerate(definition.label.classes))


def _trained(judged: Made, holdout_start: datetime, parts: Split) -> Trained:
    return Trained(
        folder=str(judged.folder),
        key=judged.key,
        reused=judged.reused,
        holdout_start=holdout_start,
        training_rows=int(parts.training.sum()),
        holdout_rows=int(parts.holdout.sum()),
        rows_without_label=int(parts.without_label.sum()),
        rows_in_gap=int(parts.in_gap.sum()),
        rows_unscorable=int(parts.unscorable.sum()),
    )
