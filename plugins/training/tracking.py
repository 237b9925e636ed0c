"""The run in MLflow: one per run of the pipeline and its evidence, accepted or refused, with the verdicts."""

from collections.abc import Mapping
from typing import Any

from scoring.contract.clock import rfc3339
from training.definition import ModelDefinition
from training.results import Evaluated, Gated, RunRequest, SnapshotRef, Trained

_MAXIMUM_CHARACTERS = 4_000


def record_run(
    uri: str,
    definition: ModelDefinition,
    request: RunRequest,
    snapshot: SnapshotRef,
    trained: Trained | None,
    evaluated: Evaluated | None,
    gated: Gated,
) -> Mapping[str, str]:
    """Record the run, and find it again in a retry.

    Returns:
        the tags that make a version belong to it; none where the registry is a folder, which keeps no runs.

    Raises:
        Unavailable: the registry cannot be reached.
    """
    if uri.startswith("file:"):
        return {}
    from scoring.registry.mlflow_registry import RUN_TAG, MlflowRegistry  # noqa: PLC0415  it imports MLflow

    recorded = MlflowRegistry(uri).record(
        definition.name,
        request.run_id,
        params=_parameters(definition, request, snapshot, trained),
        metrics=_metrics(evaluated),
        tags=_tags(request, gated),
    )
    return {RUN_TAG: recorded}


def _parameters(
    definition: ModelDefinition, request: RunRequest, snapshot: SnapshotRef, trained: Trained | None
) -> Mapping[str, str]:
    parameters: dict[str, Any] = {
        "estimator": repr(definition.estimator)[:_MAXIMUM_CHARACTERS],
        "features": len(definition.features),
        "snapshot_sha256": snapshot.sha256,
        "data_start": rfc3339(request.start),
        "data_end": rfc3339(request.end),
        "rows": snapshot.rows,
        "labels_missing": snapshot.labels_missing,
        "labels_not_yet_known": snapshot.labels_not_yet_known,
    }
    if trained is not None:
        parameters |= {
            "holdout_start": rfc3339(trained.holdout_start),
            "training_rows": trained.training_rows,
            "holdout_rows": trained.holdout_rows,
        }
    return {name: str(value) for name, value in parameters.items()}


def _metrics(evaluated: Evaluated | None) -> dict[str, float]:
    if evaluated is None:
        return {}
    kind = evaluated.baseline.kind.value
    baseline = {f"{kind}_{name}": value for name, value in evaluated.baseline.metrics.items()}
    parity = {"parity_different_rows": float(evaluated.parity.different_rows)}
    return {**evaluated.metrics, **baseline, **parity}


def _tags(request: RunRequest, gated: Gated) -> Mapping[str, str]:
    tags = {
        "baton.outcome": "accepted" if gated.accepted else "refused",
        "baton.sentence": gated.sentence,
        "baton.actor": request.actor,
        "baton.run_id": request.run_id,
        **{f"baton.gate.{v.gate}": f"{v.judgement.value}: {v.sentence}" for v in gated.verdicts},
    }
    return {name: text[:_MAXIMUM_CHARACTERS] for name, text in tags.items()}
