"""Pull: every source of the interval, and of them the records with labels and looked-up values, staged as one file."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.lookups.database import Engines
from scoring.parquet import write_columns
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.frozen import stage_tables
from training.gather import pull_source, read_pulled
from training.results import Pulled, PulledSource, Purpose, RunRequest
from training.reuse import ASSEMBLED, assembly_key, find_kept, keep
from training.rows import missing, targets
from training.source import look_up, withhold_unknown

_ROWS, _FACTS = "pulled.parquet", "pulled.json"


def pull(definition: ModelDefinition, request: RunRequest, settings: Settings) -> Pulled:
    """Read all sources, one after the other, and put them together (see ``training.pipeline``)."""
    pulled = [pull_source(definition, request, settings, source.title) for source in definition.all_sources]
    return assemble(definition, request, settings, pulled)


def assemble(
    definition: ModelDefinition, request: RunRequest, settings: Settings, pulled: Sequence[PulledSource]
) -> Pulled:
    """Make records of what was pulled (see ``training.pipeline``).

    A backfill that is repeated finds what was looked up. Other runs ask anew: what is looked up is today's for them.
    """
    folder = run_folder(settings, "staged", request)
    if request.purpose is not Purpose.BACKFILL or request.refresh:
        return _assembled(definition, request, settings, pulled, folder)
    key = assembly_key(definition, request, pulled)
    if find_kept(settings, ASSEMBLED, definition.name, key, folder):
        found = msgspec.json.decode((folder / _FACTS).read_bytes(), type=Pulled)
        return msgspec.structs.replace(found, path=str(folder / _ROWS), reused=True)
    made = _assembled(definition, request, settings, pulled, folder)
    (folder / _FACTS).write_bytes(msgspec.json.encode(made))
    keep(settings, ASSEMBLED, definition.name, key, folder)
    return made


def _assembled(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    pulled: Sequence[PulledSource],
    folder: Path,
) -> Pulled:
    shutil.rmtree(folder, ignore_errors=True)  # an earlier try's files may be links to what is kept
    columns, kinds = read_pulled(definition, request, settings, pulled), column_types(definition)
    engines = Engines(settings.need_connection)
    try:
        rows = len(columns[definition.key])
        columns.update(look_up(engines, definition.schema, columns, rows))
        stage_tables(engines, definition, folder)
    finally:
        engines.close()
    unlabelled, withheld = _hide_late_labels(definition, request, columns)
    targets(definition, columns)  # for its errors: a label that is none of the classes
    path = folder / _ROWS
    write_columns(path, columns, kinds, [definition.event_time, definition.key])
    return Pulled(path=str(path), rows=rows, labels_missing=unlabelled, labels_not_yet_known=withheld)


def run_folder(settings: Settings, what: str, request: RunRequest) -> Path:
    """Where a run keeps files of its own; the same for every try of the run."""
    return settings.need_snapshot_dir() / what / request.model / digest_of(request.run_id.encode())[:16]


def column_types(definition: ModelDefinition) -> Mapping[str, FieldType]:
    """The type of every column of a snapshot: fields, also late ones, label and looked-up values."""
    return {**definition.schema.column_types(), **definition.source_types}


def _hide_late_labels(definition: ModelDefinition, request: RunRequest, columns: dict[str, Column]) -> tuple[int, int]:
    """Withhold the labels that were not known yet; how many labels are missing in the source, and how many withheld."""
    label, delay_s = definition.label.column, definition.label.known_after.total_seconds()
    before = missing(columns[label])
    columns[label] = withhold_unknown(columns, label, columns[definition.event_time], delay_s, request.labels_known_by)
    after = missing(columns[label])
    return int(before.sum()), int((after & ~before).sum())
