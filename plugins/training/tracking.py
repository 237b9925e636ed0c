"""The run in MLflow: one per run of the pipeline, accepted or refused, with parameters, metrics and verdicts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scoring.contract.clock import rfc3339
from training.definition import ModelDefinition
from training.results import Evaluated, Gated, RunRequest, SnapshotRef, Trained

_MAXIMUM_TAG_CHARACTERS = 4_000


@contextmanager
def tracked_run(
    uri: str,
    definition: ModelDefinition,
    request: RunRequest,
    snapshot: SnapshotRef,
    trained: Trained | None,
    evaluated: Evaluated | None,
    gated: Gated,
) -> Iterator[str | None]:
    """The registry's run of this pipeline run, active inside the block; None where the registry is a folder.

    A retry continues the run that it began.

    Raises:
        Unavailable: the registry cannot be reached.
    """
    if uri.startswith("file:"):
        yield None
        return
    from scoring.registry.mlflow_registry import MlflowRegistry  # noqa: PLC0415  it imports MLflow

    with MlflowRegistry(uri).run(definition.name, request.run_id) as run:
        import mlflow  # noqa: PLC0415  see above

        mlflow.log_params(_parameters(definition, request, snapshot, trained))
        mlflow.log_metrics(_metrics(evaluated))
        mlflow.set_tags(_tags(request, gated))
        yield run


def _parameters(
    definition: ModelDefinition, request: RunRequest, snapshot: SnapshotRef, trained: Trained | None
) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "estimator": repr(definition.estimator),
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
    return parameters


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
        **{f"baton.gate.{v.gate}": f"{v.judgement.value}: {v.sentence}" for v in gated.verdicts},
    }
    return {name: text[:_MAXIMUM_TAG_CHARACTERS] for name, text in tags.items()}
