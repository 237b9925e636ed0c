"""Which prediction of a key counts, once in Python and once in SQL.

Of one input partition it is that of the highest input offset, whatever the order of arrival. Offsets of different
partitions, or of a topic that was deleted and made again, say nothing about each other: there the one that was scored
later counts. What else is compared only makes the answer the same whoever asks.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from scoring.predictions.rows import PredictionRow

_PARTITION = ("input_topic_id", "input_partition")
_IN_ONE_PARTITION = ("input_offset", "scored_at", "topic_id", "topic_offset")
_OTHERWISE = ("scored_at", *_PARTITION)


def newest_per_key(rows: Iterable[PredictionRow]) -> list[PredictionRow]:
    """Of each model and key the row that counts, sorted by both; a record without a key has none."""
    found: dict[tuple[str, str], PredictionRow] = {}
    for row in rows:
        if row.record_key is None:
            continue
        place = (row.model, row.record_key)
        known = found.get(place)
        if known is None or newer(row, known):
            found[place] = row
    return [found[place] for place in sorted(found)]


def newer(row: PredictionRow, known: PredictionRow) -> bool:
    """Whether ``row`` counts and not ``known``."""
    if row.input_partition == known.input_partition and row.input_topic_id == known.input_topic_id:
        return _of(row, _IN_ONE_PARTITION) > _of(known, _IN_ONE_PARTITION)
    return _of(row, _OTHERWISE) > _of(known, _OTHERWISE)


def newer_in_sql(row: sa.ColumnCollection[str, Any], known: sa.ColumnCollection[str, Any]) -> sa.ColumnElement[bool]:
    """``newer``, of the columns of two rows."""
    same = sa.and_(*(row[name] == known[name] for name in _PARTITION))
    by_offset, by_time = (_tuple(row, names) > _tuple(known, names) for names in (_IN_ONE_PARTITION, _OTHERWISE))
    return sa.or_(sa.and_(same, by_offset), sa.and_(sa.not_(same), by_time))


def _of(row: PredictionRow, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


def _tuple(columns: sa.ColumnCollection[str, Any], names: Sequence[str]) -> sa.Tuple:
    return sa.tuple_(*(columns[name] for name in names))
