"""Evaluate: candidate, estimator and champion on the same holdout rows. It measures; the gates judge."""

import math
from pathlib import Path

import numpy as np

from scoring.contract.encoder import Encoder, Floats
from scoring.contract.features import FeatureSchema
from scoring.settings import Settings
from training.candidate import open_compiled, read_candidate, read_estimator_scores
from training.champion import Holdout, champion_baseline
from training.definition import ModelDefinition
from training.metrics import metrics_of
from training.pull import column_types
from training.results import Baseline, BaselineKind, Evaluated, Parity, RunRequest, SnapshotRef, Trained
from training.rows import split, targets, where
from training.snapshot import read_snapshot


def evaluate(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
) -> Evaluated | None:
    """Measure a candidate on the holdout (see ``training.pipeline``)."""
    if trained is None:
        return None
    folder = Path(trained.folder)
    candidate = read_candidate(folder)
    holdout = read_holdout(definition, snapshot, trained)
    scores = open_compiled(folder, candidate.output).run(
        Encoder(candidate.schema).encode(holdout.columns, holdout.rows)
    )
    baseline = champion_baseline(definition, request, settings, holdout)
    return Evaluated(
        metrics=metrics_of(definition.task, scores, holdout.targets),
        baseline=baseline or _trivial(definition, holdout, candidate.training_mean),
        parity=compare(
            read_estimator_scores(folder),
            scores,
            exact=candidate.output.exact,
            tolerance=candidate.output.tolerance,
            threshold=definition.threshold,
        ),
        rows=holdout.rows,
    )


def read_holdout(definition: ModelDefinition, snapshot: SnapshotRef, trained: Trained) -> Holdout:
    """The holdout's rows in the order of the snapshot, with what is to be predicted.

    Raises:
        SnapshotDamaged: the snapshot cannot be read.
    """
    columns = read_snapshot(snapshot, column_types(definition))
    mask = split(definition, columns, trained.holdout_start).holdout
    schema: FeatureSchema = definition.schema
    return Holdout(
        schema=schema,
        columns=where(columns, mask),
        targets=targets(definition, columns)[mask],
        start=trained.holdout_start,
        end=snapshot.end,
    )


def compare(estimator: Floats, compiled: Floats, *, exact: bool, tolerance: float, threshold: float | None) -> Parity:
    """How far the compiled model's scores are from the estimator's."""
    if len(estimator) != len(compiled):
        return Parity(
            exact=exact,
            tolerance=tolerance,
            rows=len(compiled),
            different_rows=len(compiled),
            largest_difference=None,
            changed_decisions=0,
        )
    difference = float(np.max(np.abs(estimator - compiled), initial=0.0))
    changed = 0 if threshold is None else int(((estimator >= threshold) != (compiled >= threshold)).sum())
    return Parity(
        exact=exact,
        tolerance=tolerance,
        rows=len(compiled),
        different_rows=int((estimator.view(np.int64) != compiled.view(np.int64)).sum()),
        largest_difference=difference if math.isfinite(difference) else None,
        changed_decisions=changed,
    )


def _trivial(definition: ModelDefinition, holdout: Holdout, training_mean: float) -> Baseline:
    """Always predicting the mean of the training rows: the base rate of a class, or the mean of a number."""
    constant = np.full(holdout.rows, training_mean)
    return Baseline(kind=BaselineKind.TRIVIAL, metrics=metrics_of(definition.task, constant, holdout.targets))
