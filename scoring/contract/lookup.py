"""Lookups: values that are brought to a record as of its event, wherever they are kept.

Every lookup is trained from a table of a SQL database by one join. They differ in where a worker finds the rows: in
that table, in a compacted topic, or frozen into the bundle.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from scoring.contract.fields import Field, FieldType, Name

# A lookup keeps its micro-batch waiting; the watchdog takes a much longer silence for a hang.
MAXIMUM_TIMEOUT_S = 15.0
MAXIMUM_TOPIC_ROWS = 10_000_000


class OnMiss(StrEnum):
    """What becomes of a record for which there is no row."""

    MISSING = "missing"
    DEAD_LETTER = "dead-letter"


class OnOutage(StrEnum):
    """What becomes of a record whose row cannot be asked for now: it waits, and what follows it on the topic too; its
    values are missing; or it becomes a dead letter.
    """

    WAIT = "wait"
    MISSING = "missing"
    DEAD_LETTER = "dead-letter"


class LookupField(msgspec.Struct, frozen=True, kw_only=True):
    """One value that a lookup brings, from a column of the table."""

    name: Name
    type: FieldType = FieldType.NUMBER


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Which row counts for a record, and what happens where none can be had.

    The row for a record is the newest with equal ``match`` columns whose ``valid_at`` lies in
    ``(as_of - max_age_s, as_of]``, where ``as_of`` is the event time rounded down to ``resolution_s`` minus ``lag_s``,
    and which was known by the event time where there is a ``known_at`` column. No such row is a miss.

    Attributes:
        connection: the *name* of a database connection; its address is the environment's business.
        table: what trains it.
        match: pairs of (column of the table, field of the record).
        valid_at: column with the time from which the row holds.
        known_at: column that says when the row became known; None means that only ``valid_at`` vouches for it.
        resolution_s: event times within one step share a row, so that a cache can serve them.
        timeout_s: how long a micro-batch waits for an answer; longer is an outage.
    """

    name: Name
    connection: str
    table: str
    match: tuple[tuple[str, str], ...]
    valid_at: str | None
    known_at: str | None = None
    lag_s: float = 0.0
    max_age_s: float = 86_400.0
    resolution_s: float = 1.0
    fields: tuple[LookupField, ...]
    on_miss: OnMiss = OnMiss.MISSING
    on_outage: OnOutage = OnOutage.WAIT
    timeout_s: float = 10.0


class TableLookup(AsOf, frozen=True, kw_only=True, tag="table"):
    """Rows that a worker asks the database for, with a bounded cache."""

    valid_at: str


class TopicLookup(AsOf, frozen=True, kw_only=True, tag="topic"):
    """Rows that a worker keeps in memory from a compacted topic.

    A record of the topic is a row: its value is a JSON object of the matched columns, ``valid_at``, ``known_at`` where
    there is one, and the fields, by the names that the table has for them. A later record with the same Kafka key is a
    newer version of the row; of each key the newest versions are kept. A null value takes all of a key's rows away.

    Attributes:
        versions: how many versions of a key are kept, for events that come late.
        maximum_rows: with more than that in the topic the lookup counts as away.
    """

    valid_at: str
    topic: str
    versions: int = 4
    maximum_rows: int = 1_000_000


class FrozenLookup(AsOf, frozen=True, kw_only=True, tag="frozen"):
    """Rows that were put into the bundle when the model was trained; predictions do not repeat them.

    Attributes:
        valid_at: None where a row holds for ever.
    """

    valid_at: str | None = None


Lookup = TableLookup | TopicLookup | FrozenLookup


def lookup_mistakes(lookup: Lookup, fields: Mapping[str, Field]) -> Iterator[str]:
    """Every mistake, a sentence each."""
    name = f"lookup {lookup.name!r}"
    if not lookup.match:
        yield f"{name}: there is no column to match"
    for column, field in lookup.match:
        if field not in fields:
            yield f"{name}: column {column!r} is matched to {field!r}, which is not a field"
    if lookup.max_age_s <= 0 or lookup.resolution_s <= 0 or lookup.lag_s < 0:
        yield f"{name}: max_age_s and resolution_s must be positive and lag_s not negative"
    if not 0 < lookup.timeout_s <= MAXIMUM_TIMEOUT_S:
        yield f"{name}: timeout_s is {lookup.timeout_s:g}; it must be positive and at most {MAXIMUM_TIMEOUT_S:g}"
    if lookup.valid_at is None and lookup.known_at is not None:
        yield f"{name}: known_at needs valid_at beside it"
    if isinstance(lookup, TopicLookup) and not (
        lookup.versions >= 1 and 1 <= lookup.maximum_rows <= MAXIMUM_TOPIC_ROWS
    ):
        yield f"{name}: versions must be positive, maximum_rows between 1 and {MAXIMUM_TOPIC_ROWS}"
