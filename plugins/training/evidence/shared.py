"""The past, as the champion's snapshot had it and as this one has it: sources that rewrite history are found here."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Columns, Floats
from scoring.contract.features import FieldType
from scoring.contract.manifest import Manifest
from scoring.parquet import read_columns_of
from training.definition import ModelDefinition
from training.measured import SharedPeriod
from training.origins import origins_of, places_of_records
from training.results import SnapshotRef
from training.rows import at, missing, where

SAMPLE_ROWS = 200_000
# A number has another value where it differs by more than this share of its standard deviation.
TOLERANCE = 0.05
TIME_TOLERANCE_S = 1.0


def shared_period(
    definition: ModelDefinition,
    manifest: Manifest,
    version: str,
    snapshot: SnapshotRef,
    columns: Columns,
    kinds: Mapping[str, FieldType],
) -> SharedPeriod | None:
    """The rows of the time that the champion's snapshot covers as well; None where nothing can be compared.

    The champion's own snapshot is counted, not what its manifest says was trained on: that leaves rows out.

    Args:
        columns: of this snapshot.
        kinds: the types of its columns.
    """
    then = manifest.snapshot
    places = places_of_records(manifest.sources)
    start, end = max(then.start, snapshot.start), min(then.end, snapshot.end)
    if places_of_records(definition.manifest_sources) != places or start >= end:
        return None
    now = _within(columns, definition.event_time, start, end)
    path = Path(snapshot.path).with_name(f"{then.sha256}.parquet")
    found = read_columns_of(path, kinds) if path.exists() else {}
    event_time = manifest.schema.event_time
    if event_time not in found:
        rows = len(now[definition.event_time])
        return SharedPeriod(version=version, start=start, end=end, rows_then=None, rows_now=rows)
    before = _within(found, event_time, start, end)
    ours, theirs = _common(now, before, definition.key)
    return SharedPeriod(
        version=version,
        start=start,
        end=end,
        rows_then=len(before[event_time]),
        rows_now=len(now[definition.event_time]),
        common_rows=len(ours),
        changed={
            name: _changed(at(now[name], ours), at(before[name], theirs), kinds[name])
            for name in _comparable(definition, manifest)
            if name in now and name in before and len(ours)
        },
    )


def _within(columns: Columns, event_time: str, start: datetime, end: datetime) -> dict[str, Column]:
    times = np.asarray(columns[event_time], dtype=np.float64)
    return where(columns, (times >= epoch_s(start)) & (times < epoch_s(end)))


def _comparable(definition: ModelDefinition, manifest: Manifest) -> Iterator[str]:
    """Columns that mean the same in both: fields of the same column, lookups that are unchanged, and the label."""
    theirs = origins_of(manifest.sources, manifest.schema.event_time)
    ours = origins_of(definition.manifest_sources, definition.event_time)
    for field in definition.known_fields:
        if field.name != definition.key and ours[field.name] == theirs.get(field.name):
            yield field.name
    for lookup in definition.lookups:
        if lookup in manifest.schema.lookups:
            yield from (f"{lookup.name}.{field.name}" for field in lookup.fields)
    yield definition.label.column


def _common(now: Columns, before: Columns, key: str) -> tuple[np.typing.NDArray[np.intp], np.typing.NDArray[np.intp]]:
    """Where in the one and in the other the rows are that both have."""
    if key not in before:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    places = {value: place for place, value in enumerate(now[key])}
    pairs = [(places[value], place) for place, value in enumerate(before[key]) if value in places]
    pairs = pairs[:: max(1, -(-len(pairs) // SAMPLE_ROWS))]
    return np.array([ours for ours, _ in pairs], np.intp), np.array([theirs for _, theirs in pairs], np.intp)


def _changed(now: Column, before: Column, kind: FieldType) -> float:
    known = ~missing(before)
    if not known.any():
        return 0.0
    if kind is FieldType.STRING:
        differs = np.fromiter((a != b for a, b in zip(now, before, strict=True)), np.bool_, len(known))
    else:
        old, new = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
        differs = ~(np.abs(new - old) <= _tolerance(old[known], kind))  # true where the value is gone
    return float(np.mean(differs[known]))


def _tolerance(values: Floats, kind: FieldType) -> float:
    return TIME_TOLERANCE_S if kind is FieldType.TIME else TOLERANCE * float(np.std(values))
