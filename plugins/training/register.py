"""Register: the run with its evidence, and the bundle of an accepted candidate as a version of the model."""

from pathlib import Path

import msgspec

from scoring.contract.digest import Digest, digest_of
from scoring.registry.open import open_registry
from scoring.registry.port import Registry, VersionInfo
from scoring.settings import Settings
from training.bundle import make_bundle
from training.definition import ModelDefinition
from training.pull import run_folder
from training.results import Evaluated, Gated, Purpose, Registered, RunRequest, SnapshotRef, Trained
from training.tracking import record_run

# Tag of a version: a digest over what its candidate was trained from and judged by.
CANDIDATE_TAG = "baton.candidate"


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
    recorded = record_run(uri, definition, request, snapshot, trained, evaluated, gated)
    registry_run, candidate = next(iter(recorded.values()), None), _candidate(definition, trained, evaluated)
    known = _known(open_registry(uri), request, candidate) if gated.accepted else None
    if known is not None:
        return Registered(
            version=known.version,
            manifest_digest=known.manifest_digest,
            bundle=None,
            registry_run=registry_run,
            reused=True,
        )
    bundle, digest = _bundle(definition, request, settings, snapshot, trained, evaluated, gated)
    version = None
    if bundle is not None:
        tags = {
            "baton.run_id": request.run_id,
            "baton.outcome": "accepted",
            "baton.purpose": request.purpose.value,
            **({CANDIDATE_TAG: candidate} if candidate else {}),
            **recorded,
        }
        version = open_registry(uri).register(definition.name, bundle, tags)
    return Registered(
        version=version,
        manifest_digest=digest,
        bundle=None if bundle is None else str(bundle),
        registry_run=registry_run,
    )


def _candidate(definition: ModelDefinition, trained: Trained | None, evaluated: Evaluated | None) -> Digest | None:
    """Over what it was trained from and what it was judged by."""
    if trained is None or evaluated is None:
        return None
    judged_by = [trained.key, trained.refit_folder is not None, repr(definition.gates), evaluated.baseline]
    return digest_of(msgspec.json.encode(judged_by, order="deterministic"))


def _known(registry: Registry, request: RunRequest, candidate: Digest | None) -> VersionInfo | None:
    """The version that an earlier run for the same end registered; a run for a promotion makes one of its own."""
    if request.purpose is Purpose.PROMOTION or candidate is None:
        return None
    wanted = {CANDIDATE_TAG: candidate, "baton.purpose": request.purpose.value}
    found = [each for each in registry.versions(request.model) if wanted.items() <= each.tags.items()]
    return found[-1] if found else None


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
