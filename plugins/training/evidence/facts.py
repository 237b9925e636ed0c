"""Facts about a snapshot: how many rows it has, from when, and where they are missing."""

import io
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoring.contract.clock import epoch_s, from_epoch_s
from scoring.contract.encoder import Floats
from training.definition import ModelDefinition
from training.measured import DataFacts
from training.results import RunRequest

_DAY_S = 86_400.0
_US = 1e6


def data_facts(definition: ModelDefinition, request: RunRequest, content: bytes) -> DataFacts | None:
    """The facts about a snapshot; None where it lacks a column that they are about.

    Args:
        content: of the snapshot's file.
    """
    event_time, label = definition.event_time, definition.label.column
    needed = list(dict.fromkeys([event_time, label, *(each.name for each in definition.known_fields if each.required)]))
    if not set(needed) <= set(pq.read_schema(io.BytesIO(content)).names):
        return None
    table = pq.read_table(io.BytesIO(content), columns=needed)
    times = _seconds(table.column(event_time))
    there = np.isfinite(times)
    usable = there & np.logical_and.reduce([np.asarray(table.column(name).is_valid()) for name in needed])
    labels_end = min(request.end, request.labels_known_by) - definition.label.known_after
    weeks = _weeks(times[usable], epoch_s(labels_end), float(np.min(times[there], initial=np.inf)))
    return DataFacts(
        rows=len(times),
        usable_rows=int(usable.sum()),
        end=request.end,
        labels_end=labels_end,
        first_event=_edge(times[there], newest=False),
        newest_event=_edge(times[there], newest=True),
        newest_usable_event=_edge(times[usable], newest=True),
        weeks=(len(weeks) + 6) // 7,
        median_week_rows=float(np.median(weeks)) if len(weeks) else 0.0,
        thinnest_week_rows=int(weeks.min(initial=np.iinfo(np.int64).max)) if len(weeks) else 0,
        thinnest_week_start=from_epoch_s(epoch_s(labels_end) - (int(np.argmin(weeks)) + 7) * _DAY_S)
        if len(weeks)
        else None,
    )


def _weeks(times: Floats, end_s: float, first_s: float) -> np.typing.NDArray[np.int64]:
    """Rows in every seven days in a row before ``end_s``, the latest first, as far back as the first event."""
    if not np.isfinite(first_s):
        return np.empty(0, dtype=np.int64)
    count = max(0, int((end_s - first_s) // _DAY_S))
    back = np.ceil((end_s - times) / _DAY_S) - 1.0
    inside = back[(back >= 0) & (back < count)]
    before = np.concatenate([[0], np.cumsum(np.bincount(inside.astype(np.intp), minlength=count))])
    return np.asarray(before[7:] - before[:-7], dtype=np.int64)


def _edge(times: Floats, *, newest: bool) -> datetime | None:
    if len(times) == 0:
        return None
    return from_epoch_s(float(times.max() if newest else times.min()))


def _seconds(column: pa.ChunkedArray) -> Floats:
    micros = column.cast(pa.int64()).cast(pa.float64(), safe=False)
    return np.array(micros.to_numpy(), dtype=np.float64) / _US
