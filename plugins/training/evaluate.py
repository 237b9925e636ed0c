"""Evaluate: candidate, estimator and champion on the same holdout rows. It measures; the gates judge."""

import math
from pathlib import Path

import msgspec
import numpy as np

from scoring.contract.encoder import Columns, Encoder, Floats
from scoring.settings import Settings
from training.candidate import (
    Candidate,
    Curves,
    open_compiled,
    read_candidate,
    read_estimator_scores,
    write_curves,
)
from training.champion import Champion, Holdout, champion_baseline
from training.definition import ModelDefinition
from training.evidence import bootstrap, curves, leaks
from training.evidence.calibration import calibration_of
from training.evidence.shared import shared_period
from training.evidence.slices import Rows, slices_of
from training.evidence.sums import sums_of
from training.load import measure
from training.measured import LeakFacts, Resampling, SharedPeriod
from training.metrics import metrics_of
from training.pull import column_types
from training.results import Baseline, BaselineKind, Evaluated, Parity, RunRequest, SnapshotRef, Trained
from training.rows import Split, at, split, targets, where
from training.snapshot import read_snapshot


def evaluate(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
) -> Evaluated | None:
    """Measure a candidate on the holdout, and what loading it costs (see ``training.pipeline``)."""
    if trained is None:
        return None
    return measure(
        definition, request, settings, snapshot, trained, _judged(definition, request, settings, snapshot, trained)
    )


def _judged(
    definition: ModelDefinition, request: RunRequest, settings: Settings, snapshot: SnapshotRef, trained: Trained
) -> Evaluated:
    folder = Path(trained.folder)
    candidate = read_candidate(folder)
    columns = read_snapshot(snapshot, column_types(definition))
    parts = split(definition, columns, trained.holdout_start)
    holdout = _holdout(definition, columns, parts, snapshot, trained)
    matrix = Encoder(candidate.schema).encode(holdout.columns, holdout.rows)
    scores = open_compiled(folder, candidate.output).run(matrix)
    champion = champion_baseline(definition, request, settings, holdout)
    against = champion or _trivial(definition, holdout, candidate)
    event_times = np.asarray(holdout.columns[definition.event_time], dtype=np.float64)
    rows = Rows(
        task=definition.task,
        candidate=scores,
        baseline=scores if against.scores is None else against.scores,
        targets=holdout.targets,
        blocks=bootstrap.blocks_of(event_times),
        confidence=definition.gates.confidence,
    )
    weights = bootstrap.draw(rows.blocks.count, snapshot.sha256)
    measured = Evaluated(
        metrics=metrics_of(definition.task, scores, holdout.targets),
        baseline=against.baseline,
        parity=_parity(definition, candidate, folder, scores),
        rows=holdout.rows,
        calibration=calibration_of(rows.task, scores, rows.targets, rows.blocks, weights, rows.confidence),
        leaks=_leaks(definition, candidate, columns, parts, holdout, matrix),
        shared_period=_shared_period(definition, champion, snapshot, columns),
        refit_parity=_refit_parity(definition, trained, holdout),
    )
    if against.scores is None:
        write_curves(
            folder, curves.curves_of(rows.task, rows.targets, {"candidate": scores}, {}, candidate.output.classes)
        )
        return measured
    compared, drawn = _compared(definition, measured, rows, weights, holdout.columns, candidate, matrix)
    write_curves(folder, drawn)
    return compared


def read_holdout(definition: ModelDefinition, snapshot: SnapshotRef, trained: Trained) -> Holdout:
    """The holdout's rows in the order of the snapshot, with what is to be predicted.

    Raises:
        SnapshotDamaged: the snapshot cannot be read.
    """
    columns = read_snapshot(snapshot, column_types(definition))
    parts = split(definition, columns, trained.holdout_start)
    return _holdout(definition, columns, parts, snapshot, trained)


def compare(estimator: Floats, compiled: Floats, *, exact: bool, tolerance: float, threshold: float | None) -> Parity:
    """How far the compiled model's scores are from the estimator's.

    Of several classes a decision is the most probable one, and a row differs where any of its probabilities does.
    """
    if estimator.shape != compiled.shape:
        return Parity(
            exact=exact,
            tolerance=tolerance,
            rows=len(compiled),
            different_rows=len(compiled),
            largest_difference=None,
            changed_decisions=0,
        )
    difference = float(np.max(np.abs(estimator - compiled), initial=0.0))
    differs = estimator.view(np.int64) != compiled.view(np.int64)
    return Parity(
        exact=exact,
        tolerance=tolerance,
        rows=len(compiled),
        different_rows=int((differs if differs.ndim == 1 else differs.any(axis=1)).sum()),
        largest_difference=difference if math.isfinite(difference) else None,
        changed_decisions=_changed_decisions(estimator, compiled, threshold),
    )


def _changed_decisions(estimator: Floats, compiled: Floats, threshold: float | None) -> int:
    if estimator.ndim > 1:
        return int((estimator.argmax(axis=1) != compiled.argmax(axis=1)).sum())
    return 0 if threshold is None else int(((estimator >= threshold) != (compiled >= threshold)).sum())


def _holdout(
    definition: ModelDefinition, columns: Columns, parts: Split, snapshot: SnapshotRef, trained: Trained
) -> Holdout:
    return Holdout(
        schema=definition.schema,
        columns=where(columns, parts.holdout),
        targets=targets(definition, columns)[parts.holdout],
        start=trained.holdout_start,
        end=snapshot.end,
    )


def _compared(
    definition: ModelDefinition,
    measured: Evaluated,
    rows: Rows,
    weights: Floats,
    columns: Columns,
    candidate: Candidate,
    matrix: Floats,
) -> tuple[Evaluated, Curves]:
    """The evidence with the paired resamples of candidate and baseline, and the curves."""
    blocks, confidence = rows.blocks, rows.confidence
    ours, theirs = (
        sums_of(rows.task, scores, rows.targets, blocks.of_row, blocks.count)
        for scores in (rows.candidate, rows.baseline)
    )
    names, least = list(definition.slices), definition.gates.slice_rows
    whole = msgspec.structs.replace(
        measured,
        baseline_calibration=calibration_of(rows.task, rows.baseline, rows.targets, blocks, weights, confidence),
        intervals=bootstrap.intervals(ours, weights, confidence),
        resampling=Resampling(
            unit=blocks.unit, blocks=blocks.count, resamples=bootstrap.RESAMPLES, confidence=confidence
        ),
        comparisons=bootstrap.compare(ours, theirs, weights, confidence),
        slices=slices_of(names, columns, candidate.schema, matrix, rows, weights, least),
    )
    both = {"candidate": rows.candidate, "baseline": rows.baseline}
    gains = bootstrap.gains(ours, theirs, weights)
    return whole, curves.curves_of(rows.task, rows.targets, both, gains, candidate.output.classes)


def _parity(definition: ModelDefinition, candidate: Candidate, folder: Path, scores: Floats) -> Parity:
    return compare(
        read_estimator_scores(folder),
        scores,
        exact=candidate.output.exact,
        tolerance=candidate.output.tolerance,
        threshold=definition.threshold,
    )


def _refit_parity(definition: ModelDefinition, trained: Trained, holdout: Holdout) -> Parity | None:
    """The same for the model that was fitted on the holdout too: it is the one that will score."""
    if trained.refit_folder is None:
        return None
    folder = Path(trained.refit_folder)
    candidate = read_candidate(folder)
    matrix = Encoder(candidate.schema).encode(holdout.columns, holdout.rows)
    return _parity(definition, candidate, folder, open_compiled(folder, candidate.output).run(matrix))


def _leaks(
    definition: ModelDefinition, candidate: Candidate, columns: Columns, parts: Split, holdout: Holdout, matrix: Floats
) -> LeakFacts:
    places = leaks.sample(np.flatnonzero(parts.training))
    training = {name: at(column, places) for name, column in columns.items()}
    return LeakFacts(
        measure=leaks.measure_of(definition.task),
        power=leaks.power_of(
            definition.task,
            candidate.schema,
            Encoder(candidate.schema).encode(training, len(places)),
            targets(definition, training),
            matrix,
            holdout.targets,
        ),
        shared_keys=leaks.shared(
            at(columns[definition.key], np.flatnonzero(parts.training)), holdout.columns[definition.key]
        ),
        newest_training_event=candidate.newest_training_event,
        labels_known_before=holdout.start - definition.label.known_after,
    )


def _shared_period(
    definition: ModelDefinition, champion: Champion | None, snapshot: SnapshotRef, columns: Columns
) -> SharedPeriod | None:
    if champion is None or champion.manifest is None:
        return None
    return shared_period(
        definition,
        champion.manifest,
        str(champion.baseline.version),
        snapshot,
        columns,
        column_types(definition),
    )


def _trivial(definition: ModelDefinition, holdout: Holdout, candidate: Candidate) -> Champion:
    """Always predicting the mean of the training rows: the base rate of a class, each class's, or a number's mean."""
    constant = np.full(holdout.rows, candidate.training_mean)
    if candidate.training_shares:
        constant = np.tile(candidate.training_shares, (holdout.rows, 1))
    metrics = metrics_of(definition.task, constant, holdout.targets)
    return Champion(baseline=Baseline(kind=BaselineKind.TRIVIAL, metrics=metrics), scores=constant)
