"""The columns of several sources as one table: those that hold records one after the other, the others joined to them.

Each source is pulled by itself: ``plan`` says what is to be read of each, ``assemble`` makes records of what came back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import isnan
from typing import Any

import msgspec
import numpy as np

from scoring.contract import asof
from scoring.contract.asof import FOREVER_S, Rows
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.source import Join, Source, source_mistakes
from scoring.sources.port import Pull, together

# Names of what is read for a join beside its fields. No field is called so.
_VALID_AT = "join.valid_at"
_KNOWN_AT = "join.known_at"
_KEYS_TOLD = 5


def plan(
    sources: Sequence[Source],
    kinds: Mapping[str, FieldType],
    event_time: str,
    start: datetime,
    end: datetime,
    known_by: datetime | None = None,
) -> tuple[Pull, ...]:
    """What is to be read of each source for the records with an event in ``[start, end)``, in the sources' order.

    Args:
        kinds: type of every field that the sources bring together.
        known_by: as in ``Pull``.

    Raises:
        ConfigurationError: the sources do not fit together; every mistake is listed.
    """
    mistakes = list(source_mistakes(sources, kinds, event_time))
    if mistakes:
        raise ConfigurationError("sources:\n" + "\n".join(f"  - {line}" for line in mistakes))
    whole = Pull(source=sources[0], kinds=kinds, event_time=event_time, start=start, end=end, known_by=known_by)
    return tuple(_pull_of(source, whole) for source in sources)


def _pull_of(source: Source, whole: Pull) -> Pull:
    """A joined source is read like any other: what it is joined by becomes fields, its own time the event time."""
    join = source.join
    if join is None:
        kinds = {field: whole.kinds[field] for field, _ in source.columns}
        return msgspec.structs.replace(whole, source=source, kinds=kinds)
    times = {_VALID_AT: join.valid_at, _KNOWN_AT: join.known_at}
    added = {name: column for name, column in times.items() if column is not None}
    matched = {_match(place): column for place, (column, _) in enumerate(join.match)}
    kinds = {field: whole.kinds[field] for field, _ in source.columns}
    kinds.update({_match(place): whole.kinds[field] for place, (_, field) in enumerate(join.match)})
    kinds.update(dict.fromkeys(added, FieldType.TIME))
    columns = (*source.columns, *matched.items(), *added.items())
    reach = timedelta() if join.valid_at is None else _reach(join)
    return msgspec.structs.replace(
        whole,
        source=msgspec.structs.replace(source, name=source.title, columns=columns, join=None),
        kinds=kinds,
        event_time=None if join.valid_at is None else _VALID_AT,
        start=whole.start - reach,
    )


def _reach(join: Join) -> timedelta:
    """How long before the first event a row that counts for it can hold from."""
    return timedelta(seconds=join.resolution_s + join.lag_s + join.max_age_s)


def _match(place: int) -> str:
    return f"join.match.{place}"


def assemble(sources: Sequence[Source], pulls: Sequence[Pull], read: Sequence[Columns]) -> dict[str, Column]:
    """The records with all fields, in no particular order.

    Args:
        pulls: what ``plan`` made of the sources.
        read: the columns that came back, in the same order.

    Raises:
        ConfigurationError: a source that is joined by key alone has two rows of one key; the message names it.
    """
    parts = list(zip(sources, pulls, read, strict=True))
    bases = [(pull, columns) for source, pull, columns in parts if source.join is None]
    first = bases[0][0]
    records = together(first, [dict(columns) for _, columns in bases])
    event_time = first.event_time or ""
    rows = len(records[event_time])
    found = dict(records)
    for source, pull, columns in parts:
        if source.join is not None:
            found.update(_joined(source, source.join, pull, columns, records, rows, event_time))
    return found


def _joined(
    source: Source, join: Join, pull: Pull, columns: Columns, records: Columns, rows: int, event_time: str
) -> dict[str, Column]:
    """The fields that a source adds to the records."""
    table = _rows_of(source, join, columns)
    if join.valid_at is None:
        _require_one_row_a_key(source, join, table)
    found = asof.join(source.as_of(pull.kinds), records, rows, event_time, table)
    return {field: found[f"{source.title}.{field}"] for field, _ in source.columns}


def _rows_of(source: Source, join: Join, columns: Columns) -> Rows:
    keys = list(zip(*(_parts(columns[_match(place)]) for place in range(len(join.match))), strict=True))
    forever = np.full(len(keys), FOREVER_S)
    return Rows(
        keys=keys,
        valid_at=forever if join.valid_at is None else np.asarray(columns[_VALID_AT], dtype=np.float64),
        known_at=None if join.known_at is None else np.asarray(columns[_KNOWN_AT], dtype=np.float64),
        values={field: columns[field] for field, _ in source.columns},
    )


def _parts(column: Column) -> Sequence[Any]:
    if isinstance(column, np.ndarray):
        return [None if isnan(number) else number for number in column.tolist()]
    return column


def _require_one_row_a_key(source: Source, join: Join, table: Rows) -> None:
    counts = Counter(key for key in table.keys if None not in key)
    twice = sorted(map(str, (key[0] if len(key) == 1 else key for key, count in counts.items() if count > 1)))
    if twice:
        columns = ", ".join(column for column, _ in join.match)
        more = f" and {len(twice) - _KEYS_TOLD:,} more" if len(twice) > _KEYS_TOLD else ""
        told = f"more than one row where {columns} is {', '.join(twice[:_KEYS_TOLD])}{more}"
        raise ConfigurationError(f"source {source.title!r}: it has {told}; give it one row a key, or state valid_at")
