"""The bundle of an accepted candidate: compiled model, golden rows and manifest, checked as a worker checks them."""

import shutil
from pathlib import Path

from scoring.contract.encoder import Encoder
from scoring.contract.golden import encode_golden
from scoring.contract.manifest import FORMAT, GOLDEN_FILE, MODEL_FILE, Manifest, Snapshot
from scoring.scorer.bundle import open_bundle, write_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer
from training.candidate import Candidate, open_compiled, read_candidate, read_estimator_scores, read_graph, read_tables
from training.definition import ModelDefinition
from training.environment import code_revision, versions
from training.evaluate import read_holdout
from training.golden import golden_rows
from training.results import Evaluated, Gated, RunRequest, SnapshotRef, Trained


def make_bundle(
    folder: Path,
    definition: ModelDefinition,
    request: RunRequest,
    snapshot: SnapshotRef,
    trained: Trained,
    evaluated: Evaluated,
    gated: Gated,
) -> str:
    """Write the bundle into ``folder``, in place of what an earlier try left there, and check its golden rows.

    Returns:
        the SHA-256 of the manifest.

    Raises:
        BundleRejected: it does not reproduce its golden rows.
    """
    made = Path(trained.refit_folder or trained.folder)
    candidate = read_candidate(made)
    files = {
        MODEL_FILE: read_graph(made),
        GOLDEN_FILE: _golden(definition, candidate, snapshot, trained, made),
        **read_tables(made, candidate.schema),
    }
    manifest = _manifest(definition, request, candidate, snapshot, trained, evaluated, gated)
    shutil.rmtree(folder, ignore_errors=True)
    digest = write_bundle(folder, manifest, files)
    check_golden(Scorer(open_bundle(folder, digest)))
    return digest


def _golden(
    definition: ModelDefinition, candidate: Candidate, snapshot: SnapshotRef, trained: Trained, folder: Path
) -> bytes:
    holdout = read_holdout(definition, snapshot, trained)
    matrix = Encoder(candidate.schema).encode(holdout.columns, holdout.rows)
    compiled = open_compiled(folder, candidate.output).run(matrix)
    return encode_golden(golden_rows(candidate.schema, holdout.columns, read_estimator_scores(folder), compiled))


def _manifest(
    definition: ModelDefinition,
    request: RunRequest,
    candidate: Candidate,
    snapshot: SnapshotRef,
    trained: Trained,
    evaluated: Evaluated,
    gated: Gated,
) -> Manifest:
    return Manifest(
        format=FORMAT,
        model=definition.name,
        created_at=request.requested_at,  # the same in every try, so that a retry makes the same candidate
        schema=candidate.schema,
        output=candidate.output,
        topics=definition.all_topics,
        sources=definition.manifest_sources,
        pass_through=tuple(definition.pass_through),
        snapshot=Snapshot(
            sha256=snapshot.sha256,
            start=snapshot.start,
            end=snapshot.end,
            holdout_start=trained.holdout_start,
            training_rows=trained.refit_rows or trained.training_rows,
            holdout_rows=trained.holdout_rows,
            refitted_on_holdout=trained.refit_folder is not None,
            known_by=min(request.labels_known_by, snapshot.end + definition.label.known_after),
        ),
        estimator=candidate.estimator,
        metrics=evaluated.metrics,
        verdicts=gated.verdicts,
        environment=versions(),
        code_revision=code_revision(Path(definition.suite or ".").parent),
        files={},
    )
