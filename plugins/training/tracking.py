"""The run in MLflow: one per run of the pipeline and its evidence, accepted or refused, with the verdicts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoring.contract.clock import rfc3339
from training.definition import ModelDefinition
from training.environment import code_revision, versions
from training.results import Evaluated, Gated, Refused, RunRequest, SnapshotRef, Trained

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
    from training.artifacts import artifacts_of  # noqa: PLC0415  it imports Matplotlib

    recorded = MlflowRegistry(uri).record(
        definition.name,
        request.run_id,
        params=_parameters(definition, request, snapshot, trained),
        metrics=_metrics(evaluated),
        tags=_tags(definition, request, gated),
        artifacts=artifacts_of(trained, evaluated, gated),
    )
    return {RUN_TAG: recorded}


def record_refusal(uri: str, registry_run: str, refused: Refused) -> None:
    """Say in the run of an accepted candidate why it was not promoted after all; a folder keeps no runs.

    Raises:
        Unavailable: the registry cannot be reached.
    """
    if uri.startswith("file:"):
        return
    from scoring.registry.mlflow_registry import MlflowRegistry  # noqa: PLC0415  it imports MLflow

    tags = {
        "baton.outcome": "refused",
        "baton.sentence": refused.sentence[:_MAXIMUM_CHARACTERS],
        "baton.refusals": ", ".join(refused.refusals),
    }
    if refused.by is not None:
        tags["baton.refused_by"] = refused.by
    MlflowRegistry(uri).tag_run(registry_run, tags)


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
    parameters |= {f"set_{name}": value for name, value in request.parameters.items()}
    if trained is not None:
        parameters |= {
            "holdout_start": rfc3339(trained.holdout_start),
            "training_rows": trained.training_rows,
            "holdout_rows": trained.holdout_rows,
            "refitted_on_holdout": trained.refit_folder is not None,
        }
    return {name: str(value) for name, value in parameters.items()}


def _metrics(evaluated: Evaluated | None) -> dict[str, float]:
    if evaluated is None:
        return {}
    kind = evaluated.baseline.kind.value
    baseline = {f"{kind}_{name}": value for name, value in evaluated.baseline.metrics.items()}
    parity = {"parity_different_rows": float(evaluated.parity.different_rows)}
    return {**evaluated.metrics, **baseline, **parity, **_uncertainty(evaluated)}


def _uncertainty(evaluated: Evaluated) -> dict[str, float]:
    """Bounds of the metrics and of the gains, and how far scores are from what came."""
    found: dict[str, float | None] = {}
    for name, interval in evaluated.intervals.items():
        found |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    for each in evaluated.comparisons:
        found |= {f"{each.metric}_gain": each.gain, f"{each.metric}_gain_low": each.low}
    if evaluated.calibration is not None:
        found |= {"calibration_error": evaluated.calibration.error, "bias": evaluated.calibration.bias}
    return {name: value for name, value in found.items() if value is not None}


def _tags(definition: ModelDefinition, request: RunRequest, gated: Gated) -> Mapping[str, str]:
    made_with = ", ".join(f"{package} {version}" for package, version in versions().items())
    tags = {
        "baton.code_revision": code_revision(Path(definition.suite or ".").parent) or "unknown",
        "baton.environment": made_with,
        "baton.outcome": "accepted" if gated.accepted else "refused",
        "baton.sentence": gated.sentence,
        "baton.actor": request.actor,
        "baton.purpose": request.purpose.value,
        "baton.run_id": request.run_id,
        **_woken(request),
        **{f"baton.gate.{v.gate}": f"{v.judgement.value}: {v.sentence}" for v in gated.verdicts},
    }
    return {name: text[:_MAXIMUM_CHARACTERS] for name, text in tags.items()}


def _woken(request: RunRequest) -> Mapping[str, str]:
    """What started the run, where an event did."""
    woken = request.woken
    if woken is None:
        return {}
    told = {"reason": woken.sentence, "by": ", ".join(woken.by), "messages": woken.messages, "labels": woken.labels}
    return {f"baton.woken.{name}": str(value) for name, value in told.items()}
