"""The champion as a baseline: scored through its own bundle on the candidate's holdout rows."""

import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scoring.contract.clock import from_epoch_s
from scoring.contract.encoder import Columns, Floats
from scoring.contract.errors import BatonError, Unavailable
from scoring.contract.features import FeatureSchema
from scoring.contract.manifest import Manifest
from scoring.lookups.database import Engines
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from scoring.settings import Settings
from scoring.sources.joined import plan
from training.definition import ModelDefinition
from training.gather import read_sources
from training.metrics import metrics_of
from training.origins import origins_of
from training.results import Baseline, BaselineKind, Purpose, RunRequest
from training.rows import at, missing
from training.source import look_up


class Holdout(msgspec.Struct, frozen=True):
    """The rows on which candidate and champion are compared.

    Attributes:
        schema: what the columns were pulled for.
        columns: by field and ``lookup.field``.
        targets: what is to be predicted, of shape (rows,).
        start, end: event times of the rows lie in ``[start, end)``.
    """

    schema: FeatureSchema
    columns: Columns
    targets: Floats
    start: datetime
    end: datetime

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.targets)


class NoBaseline(BatonError):
    """The champion cannot serve as a baseline; the message says why. That is an error, never a pass (protocol A.5)."""


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The champion on the holdout.

    Attributes:
        manifest: of its bundle; None where it cannot be read.
        scores: of shape (rows,); None where it cannot be compared.
    """

    baseline: Baseline
    manifest: Manifest | None = None
    scores: Floats | None = None


def champion_baseline(
    definition: ModelDefinition, request: RunRequest, settings: Settings, holdout: Holdout
) -> Champion | None:
    """The champion's scores and metrics on the holdout; None where the ledger of the model is empty.

    A backfill's champion is the one that was live when the holdout began, by ``effective_from``.
    A champion that cannot be read or compared is a baseline with an error.

    Raises:
        Unavailable: ledger, registry or database cannot be reached now.
    """
    ledger = Ledger.open(settings.need_ledger_url())
    # A retry of a run that was decided already is compared with the champion of then, not with itself.
    entries = [entry for entry in ledger.entries(definition.name) if entry.run_id != request.run_id]
    if request.purpose is Purpose.BACKFILL:  # judged as it would have been then: by what was live over its holdout
        entries = [entry for entry in entries if entry.effective_from <= holdout.start]
    if not entries:
        return None
    head = entries[-1]
    found = Champion(baseline=Baseline(kind=BaselineKind.CHAMPION, version=head.version, sequence=head.sequence))
    try:
        scorer = _champion(settings, head)
        found = msgspec.structs.replace(found, manifest=scorer.manifest)
        return _measured(found, scorer, definition, request, settings, holdout)
    except Unavailable:
        raise
    except Exception as error:
        told = f"champion {head.version} (sequence {head.sequence}): {error}"
        return msgspec.structs.replace(found, baseline=msgspec.structs.replace(found.baseline, error=told))


def _measured(
    found: Champion,
    scorer: Scorer,
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    holdout: Holdout,
) -> Champion:
    manifest = scorer.manifest
    snapshot = manifest.snapshot
    trained_until = snapshot.end if snapshot.refitted_on_holdout else snapshot.holdout_start
    if snapshot.start < holdout.end and trained_until > holdout.start:
        raise NoBaseline(
            f"it was trained on events of {snapshot.start:%Y-%m-%d} to {trained_until:%Y-%m-%d}, which the holdout "
            f"({holdout.start:%Y-%m-%d} to {holdout.end:%Y-%m-%d}) shares; a comparison would flatter it"
        )
    if manifest.output.task is not definition.task:
        raise NoBaseline(f"it is a {manifest.output.task.value} model, the candidate a {definition.task.value} one")
    if manifest.output.classes != tuple(definition.label.classes):
        theirs, ours = [*manifest.output.classes], [*definition.label.classes]
        raise NoBaseline(f"its classes are {theirs}, the candidate's {ours}")
    columns = _columns_for(manifest, definition, request, settings, holdout)
    # It scores with the tables that are frozen into its bundle, whatever they say today.
    scores = scorer.score({**columns, **scorer.frozen(columns, holdout.rows)}, holdout.rows)
    baseline = msgspec.structs.replace(
        found.baseline,
        metrics=metrics_of(definition.task, scores, holdout.targets),
        trained_from=snapshot.start,
        trained_until=trained_until,
    )
    return msgspec.structs.replace(found, baseline=baseline, scores=scores)


def _champion(settings: Settings, head: LedgerEntry) -> Scorer:
    registry = open_registry(settings.need_registry_uri())
    with tempfile.TemporaryDirectory(prefix="baton-champion-") as scratch:
        folder = Path(scratch) / "bundle"
        registry.fetch(head.model, head.version, folder)
        return Scorer(open_bundle(folder, head.manifest_digest))


def _columns_for(
    manifest: Manifest, definition: ModelDefinition, request: RunRequest, settings: Settings, holdout: Holdout
) -> Columns:
    """What the champion's own schema reads: from the holdout where that has it, otherwise pulled for it.

    The holdout's looked-up values are as of the definition's event time: a champion with another one gets its own.
    """
    schema, known = manifest.schema, holdout.schema
    same = _same_fields(manifest, definition, holdout)
    has_lookups = schema.event_time == known.event_time and all(each in known.lookups for each in schema.lookups)
    if has_lookups and all(field.name in same for field in schema.fields):
        return holdout.columns
    return _pulled(manifest, request, settings, holdout, same)


def _same_fields(manifest: Manifest, definition: ModelDefinition, holdout: Holdout) -> set[str]:
    """The champion's fields that the holdout has from the same columns, as the same type."""
    types = holdout.schema.column_types()
    theirs = origins_of(manifest.sources, manifest.schema.event_time)
    ours = origins_of(definition.manifest_sources, definition.event_time)
    return {
        field.name
        for field in manifest.schema.fields
        if types.get(field.name) is field.type and field.name in ours and theirs.get(field.name) == ours[field.name]
    }


def _pulled(manifest: Manifest, request: RunRequest, settings: Settings, holdout: Holdout, same: set[str]) -> Columns:
    schema, engines = manifest.schema, Engines(settings.need_connection)
    start, end = _window(schema.event_time, holdout, same)
    kinds = {field.name: field.type for field in schema.fields}
    pulls = plan(manifest.sources, kinds, schema.event_time, start, end)
    found = read_sources(manifest.sources, pulls, settings, request)
    try:
        rows = len(found[schema.key])
        found.update(look_up(engines, schema, found, rows))
    finally:
        engines.close()
    return _aligned(found, schema.key, holdout, same)


def _window(event_time: str, holdout: Holdout, same: set[str]) -> tuple[datetime, datetime]:
    """When the holdout's events were by the champion's clock: by its own field where the holdout has it."""
    if event_time == holdout.schema.event_time or event_time not in same or holdout.rows == 0:
        return holdout.start, holdout.end
    times = np.asarray(holdout.columns[event_time], dtype=np.float64)
    if bool(missing(times).any()):
        raise NoBaseline(f"its event time {event_time!r} is missing in rows of the holdout")
    return from_epoch_s(float(times.min())), from_epoch_s(float(times.max())) + timedelta(microseconds=1)


def _aligned(found: Columns, key: str, holdout: Holdout, same: set[str]) -> Columns:
    """The pulled rows in the order of the holdout's, by the champion's key."""
    if key != holdout.schema.key and key not in same:
        raise NoBaseline(f"its key {key!r} is no field of the holdout, so that its rows cannot be found")
    wanted = list(holdout.columns[key])
    for where, keys in (("its source", found[key]), ("the holdout", wanted)):
        counts = Counter[Any](keys)
        repeated = next((value for value in wanted if counts[value] > 1), None)
        if repeated is not None:
            raise NoBaseline(f"{where} has several rows with the key {repeated!r}, which cannot be told apart")
    places = {value: place for place, value in enumerate(found[key])}
    try:
        order = np.array([places[value] for value in wanted], dtype=np.intp)
    except KeyError as error:
        raise NoBaseline(f"its source has no row with the key {error} of the holdout") from error
    return {name: at(column, order) for name, column in found.items()}
