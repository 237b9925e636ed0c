"""The lookups of a model: values that training and workers bring to a record as of its event.

All three are trained from a table by the same join; they differ in where a worker finds the rows.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from scoring.contract.lookup import FrozenLookup, LookupField, OnMiss, OnOutage, TableLookup, TopicLookup

__all__ = ["LookupField", "OnMiss", "OnOutage", "frozen_lookup", "table_lookup", "topic_lookup"]

_TIMEOUT = timedelta(seconds=10)
_NO_LAG = timedelta(0)
_A_DAY = timedelta(days=1)
_A_SECOND = timedelta(seconds=1)


def table_lookup(
    name: str,
    *,
    connection: str,
    table: str,
    match: Mapping[str, str],
    valid_at: str,
    fields: Sequence[str | LookupField],
    known_at: str | None = None,
    lag: timedelta = _NO_LAG,
    max_age: timedelta = _A_DAY,
    resolution: timedelta = _A_SECOND,
    on_miss: OnMiss = OnMiss.MISSING,
    on_outage: OnOutage = OnOutage.WAIT,
    timeout: timedelta = _TIMEOUT,
) -> TableLookup:
    """Values from a table as of the event: the newest row that is older than the event by ``lag`` or more.

    Args:
        match: field of the record by column of the table.
        valid_at: column with the time from which the row holds.
        known_at: column with the time at which the row became known, where the table has one.
        max_age: rows that are older than the event minus ``lag`` by this or more are not used.
        fields: columns to bring; a plain name is a number.
        resolution: event times within one step share a row.
        on_miss: what becomes of a record for which there is no row.
        on_outage: what becomes of a record while the database cannot be asked, or takes longer than ``timeout``.
    """
    return TableLookup(
        **_common(name, connection, table, match, fields, known_at, lag, max_age, resolution, on_miss),
        valid_at=valid_at,
        on_outage=on_outage,
        timeout_s=timeout.total_seconds(),
    )


def topic_lookup(
    name: str,
    *,
    topic: str,
    connection: str,
    table: str,
    match: Mapping[str, str],
    valid_at: str,
    fields: Sequence[str | LookupField],
    known_at: str | None = None,
    lag: timedelta = _NO_LAG,
    max_age: timedelta = _A_DAY,
    resolution: timedelta = _A_SECOND,
    on_miss: OnMiss = OnMiss.MISSING,
    on_outage: OnOutage = OnOutage.WAIT,
    versions: int = 4,
    maximum_rows: int = 1_000_000,
) -> TopicLookup:
    """Values from a compacted topic that workers keep in memory; the table that has the same rows trains it.

    Args:
        topic: its records are JSON objects with the table's columns (``scoring.contract.lookup.TopicLookup``).
        versions: how many versions of a key are kept, for events that come late.
        maximum_rows: a topic with more counts as away.
        match, valid_at, fields, known_at, lag, max_age, resolution, on_miss, on_outage: see ``table_lookup``.
    """
    return TopicLookup(
        **_common(name, connection, table, match, fields, known_at, lag, max_age, resolution, on_miss),
        valid_at=valid_at,
        topic=topic,
        on_outage=on_outage,
        versions=versions,
        maximum_rows=maximum_rows,
    )


def frozen_lookup(
    name: str,
    *,
    connection: str,
    table: str,
    match: Mapping[str, str],
    fields: Sequence[str | LookupField],
    valid_at: str | None = None,
    known_at: str | None = None,
    lag: timedelta = _NO_LAG,
    max_age: timedelta = _A_DAY,
    resolution: timedelta = _A_SECOND,
    on_miss: OnMiss = OnMiss.MISSING,
) -> FrozenLookup:
    """Values from a whole table as it was when the model was trained; the bundle carries it, so nothing can be away.

    Args:
        valid_at: None where a row holds for ever, as an airport's position does. Such a row says nothing of when it
            became known: what is looked up this way must have been known at every event.
        match, fields, known_at, lag, max_age, resolution, on_miss: see ``table_lookup``.
    """
    return FrozenLookup(
        **_common(name, connection, table, match, fields, known_at, lag, max_age, resolution, on_miss),
        valid_at=valid_at,
    )


def _common(
    name: str,
    connection: str,
    table: str,
    match: Mapping[str, str],
    fields: Sequence[str | LookupField],
    known_at: str | None,
    lag: timedelta,
    max_age: timedelta,
    resolution: timedelta,
    on_miss: OnMiss,
) -> dict[str, Any]:
    return {
        "name": name,
        "connection": connection,
        "table": table,
        "match": tuple(match.items()),
        "known_at": known_at,
        "lag_s": lag.total_seconds(),
        "max_age_s": max_age.total_seconds(),
        "resolution_s": resolution.total_seconds(),
        "fields": tuple(LookupField(name=field) if isinstance(field, str) else field for field in fields),
        "on_miss": on_miss,
    }
