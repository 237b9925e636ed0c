"""Golden rows: real holdout rows as the messages that they would have been, with what must come of them."""

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np

from scoring.contract.encoder import Columns, Floats
from scoring.contract.features import FeatureSchema, FieldType, FrozenLookup
from scoring.contract.golden import GoldenRow, Score, Value
from scoring.contract.message import encode_message
from training.rows import missing

ROWS = 64
# So many of them have a missing value somewhere, where there are such rows.
ROWS_WITH_GAPS = 16


def golden_rows(schema: FeatureSchema, columns: Columns, estimator: Floats, compiled: Floats) -> tuple[GoldenRow, ...]:
    """Rows spread evenly over the holdout, and some with missing values.

    Args:
        columns: of the holdout, by field and ``lookup.field``.
        estimator, compiled: the scores of the estimator and of the compiled model for those rows.
    """
    return tuple(
        GoldenRow(
            message=encode_message(schema.fields, {field.name: columns[field.name][place] for field in schema.fields}),
            lookups=_lookups(schema, columns, place),
            estimator=_score(estimator, place),
            compiled=_score(compiled, place),
        )
        for place in _places(columns, len(compiled))
    )


def _score(scores: Floats, place: int) -> Score:
    return float(scores[place]) if scores.ndim == 1 else tuple(scores[place].tolist())


def _places(columns: Columns, rows: int) -> list[int]:
    gaps = np.zeros(rows, dtype=bool)
    for column in columns.values():
        gaps |= missing(column)
    with_gaps = _spread(np.flatnonzero(gaps), ROWS_WITH_GAPS)
    others = _spread(np.setdiff1d(np.arange(rows), with_gaps), ROWS - len(with_gaps))
    return sorted({*with_gaps, *others})


def _spread(places: np.typing.NDArray[np.intp], count: int) -> list[int]:
    """At most ``count`` of the places, evenly spread from the first to the last."""
    if len(places) <= count:
        return [int(place) for place in places]
    return [int(places[index]) for index in np.linspace(0, len(places) - 1, count).astype(int)]


def _lookups(schema: FeatureSchema, columns: Columns, place: int) -> dict[str, dict[str, Value]]:
    return {
        lookup.name: {
            field.name: _value(field.type, columns[f"{lookup.name}.{field.name}"], place) for field in lookup.fields
        }
        for lookup in schema.lookups
        if not isinstance(lookup, FrozenLookup)  # those are in the bundle
    }


def _value(kind: FieldType, column: Sequence[Any] | Floats, place: int) -> Value:
    value = column[place]
    if value is None or kind is FieldType.STRING:
        return None if value is None else str(value)
    return None if isnan(value) else float(value)
