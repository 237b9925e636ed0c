"""Which rows of a snapshot train a candidate, which judge it, which are left out. Split by time, never at random."""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Columns, Floats
from scoring.contract.errors import ConfigurationError
from training.definition import Label, ModelDefinition

Mask = npt.NDArray[np.bool_]
_STRANGERS_TOLD = 5


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
    without_label = missing(columns[definition.label.column]) & ~unscorable
    usable = ~without_label & ~unscorable
    begin_s = epoch_s(holdout_start)
    holdout = usable & (event_times >= begin_s)
    training = usable & (event_times + definition.label.known_after.total_seconds() < begin_s)
    return Split(training, holdout, without_label, unscorable, usable & ~holdout & ~training)


def targets(definition: ModelDefinition, columns: Columns) -> Floats:
    """What is to be predicted: 0 and 1, the number, or the place of the class among all; missing where the label is.

    Raises:
        ConfigurationError: a label is none of the definition's classes; the message names what was found.
    """
    if definition.label.classes:
        return _class_numbers(definition.label, columns[definition.label.column])
    labels = np.asarray(columns[definition.label.column], dtype=np.float64)
    limit = definition.label.at_least
    return labels if limit is None else np.where(np.isnan(labels), np.nan, (labels >= limit).astype(np.float64))


def _class_numbers(label: Label, column: Column) -> Floats:
    places: dict[Any, float] = {name: float(place) for place, name in enumerate(label.classes)}
    strange = Counter(value for value in column if value is not None and value not in places)
    if strange:
        told = ", ".join(f"{value!r} ({rows:,} rows)" for value, rows in strange.most_common(_STRANGERS_TOLD))
        more = f" and {len(strange) - _STRANGERS_TOLD} more" if len(strange) > _STRANGERS_TOLD else ""
        raise ConfigurationError(
            f"label {label.column!r}: the data have {told}{more}, which is none of the classes {[*label.classes]}; add "
            "it to the classes, or mend the source"
        )
    places[None] = np.nan
    return np.array([places[value] for value in column], dtype=np.float64)


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
