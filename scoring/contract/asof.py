"""The as-of join: for each record the newest row of a table that held, and was known, at its event.

Pure and vectorised. Training runs it over a whole interval, a worker over what its cache, its memory or the bundle
holds: the same code, so that a record gets the same values in both (the rule is that of ``lookup.AsOf``).
"""

import math
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Column, Columns, Floats
from scoring.contract.fields import FieldType
from scoring.contract.lookup import AsOf, OnMiss, OnOutage

Indices = npt.NDArray[np.int64]
Key = tuple[Any, ...]

# Before any event: from then on a row holds that has no time of its own.
FOREVER_S = -1e18


class Rows(msgspec.Struct, frozen=True):
    """Rows of a looked-up table as columns of one length.

    Attributes:
        keys: values of the matched columns, in the order of ``AsOf.match``.
        valid_at: seconds since 1970; ``FOREVER_S`` of rows that hold for ever.
        known_at: seconds since 1970; None where the table does not say. NaN is never known.
        values: columns by field, float64 with NaN for missing, or lists of str and None.
    """

    keys: Sequence[Key]
    valid_at: Floats
    known_at: Floats | None
    values: Mapping[str, Column]


class Queries(msgspec.Struct, frozen=True):
    """What records ask of a lookup; records that must get the same values ask together.

    Attributes:
        keys: per query; a key with None in it comes from a missing field and matches nothing.
        as_of: per query, seconds since 1970.
        known_by: per query, the time by which a row must have been known; only where the table has a ``known_at``.
        places: for each record, the index of its query.
    """

    keys: list[Key]
    as_of: Floats
    known_by: Floats
    places: Indices


def ask(lookup: AsOf, columns: Columns, rows: int, event_time: str) -> Queries:
    """The queries of records.

    Args:
        columns: fields of the records; ``event_time`` names the one with the time.
    """
    event_times = np.asarray(columns[event_time], dtype=np.float64)
    parts = [_key_part(columns[field]) for _, field in lookup.match]
    times = [as_of_times(lookup, event_times).tolist(), *([] if lookup.known_at is None else [event_times.tolist()])]
    asked = list(zip(*parts, *times, strict=True))
    distinct = {query: place for place, query in enumerate(dict.fromkeys(asked))}
    width = len(parts)
    as_of = np.array([query[width] for query in distinct], dtype=np.float64)
    return Queries(
        keys=[query[:width] for query in distinct],
        as_of=as_of,
        known_by=as_of if lookup.known_at is None else np.array([query[-1] for query in distinct], dtype=np.float64),
        places=np.fromiter(map(distinct.__getitem__, asked), np.int64, rows),
    )


def as_of_times(lookup: AsOf, event_times: Floats) -> Floats:
    """The ``as_of`` of each event: rounded down to the resolution, minus the lag. Seconds since 1970."""
    return np.floor(event_times / lookup.resolution_s) * lookup.resolution_s - lookup.lag_s


def _key_part(column: Column) -> Sequence[Any]:
    if isinstance(column, np.ndarray):
        return [None if isnan(number) else number for number in column.tolist()]
    return column


def answer(
    lookup: AsOf, queries: Queries, table: "Rows | Index", asked: npt.NDArray[np.bool_] | None = None
) -> dict[str, Column]:
    """The looked-up columns by ``lookup.field``, a value for each record that asked.

    Args:
        asked: for each query whether the table can answer it; None: all. Nobody knows of the others.
    """
    index = table if isinstance(table, Index) else Index(table)
    found = index.newest(queries, math.inf if lookup.valid_at is None else lookup.max_age_s)
    if asked is not None:
        found = np.where(asked, found, -1)
    found = found[queries.places]
    columns = {f"{lookup.name}.{field.name}": _take(index.table.values[field.name], found) for field in lookup.fields}
    if tells_what_it_found(lookup):
        told = (found >= 0).astype(np.float64)
        columns[found_column(lookup.name)] = told if asked is None else np.where(asked[queries.places], told, np.nan)
    return columns


def unanswered(lookup: AsOf, rows: int) -> dict[str, Column]:
    """The looked-up columns of records where nobody could be asked."""
    columns = {f"{lookup.name}.{field.name}": empty_column(field.type, rows) for field in lookup.fields}
    return {**columns, found_column(lookup.name): np.full(rows, np.nan)}


def found_column(lookup: str) -> str:
    """The name of a column beside the looked-up ones: 1 where there is a row, 0 where there is none, NaN where nobody
    could be asked. No field is called so, and no feature can refer to it.
    """
    return f"{lookup}."


def tells_what_it_found(lookup: AsOf) -> bool:
    """Whether that column is needed: only a stated answer to a miss or an outage does."""
    return lookup.on_miss != OnMiss.MISSING or lookup.on_outage != OnOutage.WAIT


class Index:
    """Rows made ready to be asked more than once."""

    def __init__(self, table: Rows) -> None:
        self.table = table
        self._groups: dict[Key, int] = {key: place for place, key in enumerate(dict.fromkeys(table.keys))}
        group = np.array([self._groups[key] for key in table.keys], dtype=np.int64)
        self._order = _order(table, group)
        self._steps, ranks = np.unique(table.valid_at, return_inverse=True)
        self._position = (group * (len(self._steps) + 1) + ranks)[self._order]
        self._known_at = None if table.known_at is None else table.known_at[self._order]

    def newest(self, queries: Queries, max_age_s: float) -> Indices:
        """For each query the index of its row in the table, -1 where there is none.

        Of rows that hold from the same time the one that became known last counts; of rows that are equal in that too,
        the one with the greatest values, so that the order in which a database returns rows does not matter.
        """
        if len(self.table.keys) == 0:
            return np.full(len(queries.keys), -1, dtype=np.int64)
        width = len(self._steps) + 1
        group = np.array([-1 if None in key else self._groups.get(key, -1) for key in queries.keys], dtype=np.int64)
        low, high = (
            np.searchsorted(self._position, group * width + np.searchsorted(self._steps, bound, "right"), "left")
            for bound in (queries.as_of - max_age_s, queries.as_of)
        )
        last = np.where((group < 0) | np.isnan(queries.as_of), -1, high - 1)
        last = _last_known(low, last, self._known_at, queries.known_by)
        return np.where(last < 0, -1, self._order[last])


def _order(table: Rows, group: Indices) -> Indices:
    """Rows by group, valid_at, known_at and then by their values."""
    ties: list[npt.NDArray[np.float64] | npt.NDArray[np.int64]] = [
        _sortable(column) for column in table.values.values()
    ]
    known = [] if table.known_at is None else [table.known_at]
    return np.lexsort([*reversed(ties), *known, table.valid_at, group]).astype(np.int64)


def _sortable(column: Column) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    """Something that sorts as the column does; missing comes first."""
    if isinstance(column, np.ndarray) and column.dtype == np.float64:
        return np.where(np.isnan(column), -np.inf, column)
    words = {word: place for place, word in enumerate(sorted({word for word in column if word is not None}))}
    return np.fromiter((words.get(word, -1) for word in column), np.int64, len(column))


def _last_known(low: Indices, last: Indices, known_at: Floats | None, known_by: Floats) -> Indices:
    """Steps back from ``last`` while the row was not known yet; -1 where that leads below ``low``."""
    last = np.where(last < low, -1, last)
    if known_at is None:
        return last
    open_ = np.flatnonzero(last >= 0)
    while len(open_):
        unknown = open_[~(known_at[last[open_]] <= known_by[open_])]
        last[unknown] -= 1
        gone = last[unknown] < low[unknown]
        last[unknown[gone]] = -1
        open_ = unknown[~gone]
    return last


def _take(column: Column, indices: Indices) -> Column:
    """The values at ``indices``; missing at -1."""
    if isinstance(column, np.ndarray):
        return np.append(column, np.nan)[indices]
    words = [*column, None]
    return [words[index] for index in indices.tolist()]


def join(lookup: AsOf, columns: Columns, rows: int, event_time: str, table: Rows) -> dict[str, Column]:
    """The looked-up columns of records by ``lookup.field``, from a table that holds all rows that can count."""
    return answer(lookup, ask(lookup, columns, rows, event_time), table)


def empty_column(kind: FieldType, rows: int) -> Column:
    """A column of missing values."""
    return [None] * rows if kind is FieldType.STRING else np.full(rows, np.nan)
