"""Pull: the records of the interval with their labels and what was looked up for them, staged as one file."""

from collections.abc import Mapping
from pathlib import Path

from scoring.contract import manifest
from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.lookups.database import Engines
from scoring.parquet import write_columns
from scoring.settings import Settings
from scoring.sources.port import Pull
from scoring.sources.sql import read_columns
from training.definition import ModelDefinition
from training.frozen import stage_tables
from training.results import Pulled, RunRequest
from training.rows import missing, targets
from training.source import look_up, withhold_unknown


def pull(definition: ModelDefinition, request: RunRequest, settings: Settings) -> Pulled:
    """Read the rows of the interval (see ``training.pipeline``)."""
    engines = Engines(settings.need_connection)
    kinds = column_types(definition)
    try:
        columns = read_columns(engines, _pull_of(definition, kinds, request))
        rows = len(columns[definition.key])
        columns.update(look_up(engines, definition.schema, columns, rows))
        stage_tables(engines, definition, run_folder(settings, "staged", request))
    finally:
        engines.close()
    unlabelled, withheld = _hide_late_labels(definition, request, columns)
    targets(definition, columns)  # for its errors: a label that is none of the classes
    path = run_folder(settings, "staged", request) / "pulled.parquet"
    write_columns(path, columns, kinds, [definition.event_time, definition.key])
    return Pulled(path=str(path), rows=rows, labels_missing=unlabelled, labels_not_yet_known=withheld)


def run_folder(settings: Settings, what: str, request: RunRequest) -> Path:
    """Where a run keeps files of its own; the same for every try of the run."""
    return settings.need_snapshot_dir() / what / request.model / digest_of(request.run_id.encode())[:16]


def column_types(definition: ModelDefinition) -> Mapping[str, FieldType]:
    """The type of every column of a snapshot: fields, also late ones, label and looked-up values."""
    kinds = {definition.label.column: FieldType.NUMBER}
    kinds.update({field.name: field.type for field in definition.fields})
    kinds.update(definition.schema.column_types())
    # Classes are compared as text, whatever the column holds and a late field of the same name says.
    return {**kinds, definition.label.column: FieldType.STRING} if definition.label.classes else kinds


def _pull_of(definition: ModelDefinition, kinds: Mapping[str, FieldType], request: RunRequest) -> Pull:
    return Pull(
        source=_whole_source(definition),
        kinds=kinds,
        event_time=definition.event_time,
        start=request.start,
        end=request.end,
    )


def _whole_source(definition: ModelDefinition) -> manifest.Source:
    """The source with the label and with the fields that are known late."""
    names = dict.fromkeys([*(field.name for field in definition.fields), definition.label.column])
    columns = tuple((name, definition.source.column(name)) for name in names)
    return manifest.Source(connection=definition.source.connection, table=definition.source.table, columns=columns)


def _hide_late_labels(definition: ModelDefinition, request: RunRequest, columns: dict[str, Column]) -> tuple[int, int]:
    """Withhold the labels that were not known yet; how many labels are missing in the source, and how many withheld."""
    label, delay_s = definition.label.column, definition.label.known_after.total_seconds()
    before = missing(columns[label])
    columns[label] = withhold_unknown(columns, label, columns[definition.event_time], delay_s, request.labels_known_by)
    after = missing(columns[label])
    return int(before.sum()), int((after & ~before).sum())
