"""Sources read one by one, kept so that none is read twice, and put together again as records."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from scoring.contract.clock import rfc3339
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.source import Source
from scoring.settings import Settings
from scoring.sources.joined import assemble, plan
from scoring.sources.open import Sources
from scoring.sources.port import Pull
from scoring.sources.staged import Record, Staged, StagedDamaged, Staging
from training.definition import ModelDefinition
from training.errors import SnapshotDamaged
from training.results import PulledSource, RunRequest

FOLDER = "sources"
"""Below the pipeline's folder; ``scoring.promotion.pipeline_folder`` prunes it."""


def pulls_of(definition: ModelDefinition, request: RunRequest) -> tuple[Pull, ...]:
    """What a run reads of each source, in the sources' order."""
    return plan(
        definition.all_sources,
        definition.source_types,
        definition.event_time,
        request.start,
        request.end,
        _known_by(definition, request),
    )


def _known_by(definition: ModelDefinition, request: RunRequest) -> datetime:
    """Once all that belongs to the interval could be known, one run's pull is as good as a later one's."""
    delays_s = [definition.label.known_after.total_seconds(), *(field.known_after_s for field in definition.fields)]
    return min(request.labels_known_by, request.end + timedelta(seconds=max(0.0, *delays_s)))


def pull_source(definition: ModelDefinition, request: RunRequest, settings: Settings, source: str) -> PulledSource:
    """Read one source (see ``training.pipeline``)."""
    pull = next((each for each in pulls_of(definition, request) if each.source.title == source), None)
    if pull is None:
        raise ConfigurationError(f"source {source!r}: {definition.name!r} has no such source any more; start a new run")
    with Sources(settings.need_connection) as reader:
        staged = _staging(settings, request.model).pull(pull, reader, refresh=request.refresh)
    return _told(staged)


def read_pulled(
    definition: ModelDefinition, request: RunRequest, settings: Settings, pulled: Sequence[PulledSource]
) -> dict[str, Column]:
    """The records of all sources with all fields, from what was kept of each.

    Raises:
        SnapshotDamaged: what was kept of a source is not there any more.
        ConfigurationError: a source that is joined by key alone has two rows of one key; the message names it.
    """
    pulls, staging = pulls_of(definition, request), _staging(settings, request.model)
    by_name = {each.source: _record(each) for each in pulled}
    read = [_read(staging, by_name[each.source.title], each) for each in pulls]
    return assemble(definition.all_sources, pulls, read)


def read_sources(
    sources: Sequence[Source], pulls: Sequence[Pull], settings: Settings, request: RunRequest
) -> dict[str, Column]:
    """The records of sources that need not be the definition's, one source after the other.

    Args:
        pulls: what ``scoring.sources.joined.plan`` made of the sources.

    Raises:
        Unavailable, ConfigurationError: a source cannot be read; the message names it.
    """
    staging = _staging(settings, request.model)
    with Sources(settings.need_connection) as reader:
        kept = [staging.pull(pull, reader, refresh=request.refresh).record for pull in pulls]
    return assemble(sources, pulls, [_read(staging, record, pull) for record, pull in zip(kept, pulls, strict=True)])


def _staging(settings: Settings, model: str) -> Staging:
    return Staging(settings.need_snapshot_dir() / FOLDER / model)


def _read(staging: Staging, record: Record, pull: Pull) -> dict[str, Column]:
    try:
        return staging.read(record, pull.fields)
    except StagedDamaged as error:
        raise SnapshotDamaged(f"{pull.what}: {error}") from error


def _told(staged: Staged) -> PulledSource:
    record, difference = staged.record, staged.difference
    return PulledSource(
        source=record.source,
        key=record.key,
        sha256=record.sha256,
        rows=record.rows,
        newest=record.newest,
        pulled_at=record.pulled_at,
        seconds=record.seconds,
        reused=staged.reused,
        added=None if difference is None else difference.added,
        removed=None if difference is None else difference.removed,
        sentence=_sentence(staged),
    )


def _sentence(staged: Staged) -> str:
    record, before, difference = staged.record, staged.before, staged.difference
    newest = "" if record.newest is None else f", the newest of {rfc3339(record.newest)}"
    rows = f"source {record.source!r}: {record.rows:,} rows{newest}"
    if staged.reused:
        return f"{rows}; they were pulled at {rfc3339(record.pulled_at)}, and are not pulled again"
    if before is None or difference is None:
        return f"{rows}; read in {record.seconds:.1f} s"
    since = rfc3339(before.pulled_at)
    if staged.same:
        return f"{rows}; pulled again, and the same as at {since}"
    return f"{rows}; pulled again: {difference.added:,} were added and {difference.removed:,} are gone since {since}"


def _record(pulled: PulledSource) -> Record:
    return Record(
        key=pulled.key,
        source=pulled.source,
        sha256=pulled.sha256,
        rows=pulled.rows,
        newest=pulled.newest,
        pulled_at=pulled.pulled_at,
        seconds=pulled.seconds,
    )
