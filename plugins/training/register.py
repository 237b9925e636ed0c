"""Register: the run with its evidence, and the bundle of an accepted candidate as a version of the model."""

from pathlib import Path

from scoring.registry.open import open_registry
from scoring.settings import Settings
from training.bundle import make_bundle
from training.definition import ModelDefinition
from training.pull import run_folder
from training.results import Evaluated, Gated, Registered, RunRequest, SnapshotRef, Trained
from training.tracking import record_run


def register(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
    evaluated: Evaluated | None,
    gated: Gated,
) -> Registered:
    """Record the run and register the bundle (see ``training.pipeline``)."""
    uri = settings.need_registry_uri()
    bundle, digest = _bundle(definition, request, settings, snapshot, trained, evaluated, gated)
    recorded = record_run(uri, definition, request, snapshot, trained, evaluated, gated)
    version = None
    if bundle is not None:
        tags = {
            "baton.run_id": request.run_id,
            "baton.outcome": "accepted",
            "baton.purpose": request.purpose.value,
            **recorded,
        }
        version = open_registry(uri).register(definition.name, bundle, tags)
    return Registered(
        version=version,
        manifest_digest=digest,
        bundle=None if bundle is None else str(bundle),
        registry_run=next(iter(recorded.values()), None),
    )


def _bundle(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
    evaluated: Evaluated | None,
    gated: Gated,
) -> tuple[Path, str] | tuple[None, None]:
    """The bundle's folder and the digest of its manifest, where the gates accepted the candidate."""
    if not gated.accepted or trained is None or evaluated is None:
        return None, None
    folder = run_folder(settings, "bundles", request)
    return folder, make_bundle(folder, definition, request, snapshot, trained, evaluated, gated)
