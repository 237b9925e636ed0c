"""Which rows of a snapshot train a candidate, which judge it, which are left out. Split by time, never at random."""

from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Columns, Floats
from training.definition import ModelDefinition

Mask = npt.NDArray[np.bool_]


class Split(msgspec.Struct, frozen=True):
    """Masks over the rows of a snapshot, each of shape (rows,).

    Attributes:
        training: events whose label was known when the holdout began.
        holdout: the latest events.
        without_label, unscorable, in_gap: left out. Unscorable rows lack a required field: a worker would make them
            dead letters.
    """

    training: Mask
    holdout: Mask
    without_label: Mask
    unscorable: Mask
    in_gap: Mask


def split(definition: ModelDefinition, columns: Columns, holdout_start: datetime) -> Split:
    """Train on ``[start, holdout_start - label delay)``, judge on ``[holdout_start, end)``."""
    event_times = np.asarray(columns[definition.event_time], dtype=np.float64)
    unscorable = _lacks_required(definition, columns, len(event_times))
    without_label = np.isnan(np.asarray(columns[definition.label.column], dtype=np.float64)) & ~unscorable
    usable = ~without_label & ~unscorable
    begin_s = epoch_s(holdout_start)
    holdout = usable & (event_times >= begin_s)
    training = usable & (event_times + definition.label.known_after.total_seconds() < begin_s)
    return Split(training, holdout, without_label, unscorable, usable & ~holdout & ~training)


def targets(definition: ModelDefinition, columns: Columns) -> Floats:
    """What is to be predicted: 0 and 1, or the number; missing where the label is."""
    labels = np.asarray(columns[definition.label.column], dtype=np.float64)
    limit = definition.label.at_least
    return labels if limit is None else np.where(np.isnan(labels), np.nan, (labels >= limit).astype(np.float64))


def where(columns: Columns, mask: Mask) -> dict[str, Column]:
    """The rows of the columns at which the mask is true."""
    places = np.flatnonzero(mask)
    return {name: at(column, places) for name, column in columns.items()}


def at(column: Column, places: npt.NDArray[np.intp]) -> Column:
    """The values of a column at places."""
    if isinstance(column, np.ndarray):
        return column[places]
    return [column[place] for place in places.tolist()]


def _lacks_required(definition: ModelDefinition, columns: Columns, rows: int) -> Mask:
    lacking = np.zeros(rows, dtype=bool)
    for field in definition.known_fields:
        if field.required:
            lacking |= missing(columns[field.name])
    return lacking


def missing(column: Column) -> Mask:
    """Where a column has no value."""
    if isinstance(column, np.ndarray) and column.dtype == np.float64:
        return np.isnan(column)
    return np.fromiter((value is None for value in column), np.bool_, len(column))
