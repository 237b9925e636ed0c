"""The query behind a lookup: many keys and steps at once, each answered by a seek in the table's index.

The keys travel as one JSON document, so that the statement is the same for any number of them and is compiled once.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from scoring.contract.asof import Key
from scoring.contract.clock import from_epoch_s
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType, TableLookup, TopicLookup
from scoring.lookups.database import Moment, last_moment
from scoring.lookups.rows import Row
from scoring.lookups.table import selected, table_of_lookup

# A key, and the ``as_of`` of its step.
Wanted = tuple[Key, float]

# Rounding of the resolution may place an event a hair before its step.
_SLACK_S = 0.001
_BIGINT_END = 2.0**63
_SQL_TYPES: dict[FieldType, Any] = {
    FieldType.STRING: sa.Text(),
    FieldType.BOOLEAN: sa.Boolean(),
    FieldType.TIME: Moment(),
    FieldType.NUMBER: sa.Double(),
}
_BOUNDS = ("low", "high", "known")


class Fetch:
    """Fetches the rows of one lookup.

    Args:
        kinds: types of the record's fields that are matched.
    """

    def __init__(self, lookup: TableLookup | TopicLookup, kinds: Sequence[FieldType]) -> None:
        self._lookup = lookup
        self._kinds = kinds
        self._statements: dict[tuple[str, tuple[bool, ...]], sa.Select[Any]] = {}

    def __call__(self, connection: sa.Connection, wanted: Sequence[Wanted]) -> dict[Wanted, list[Row]]:
        """The rows that can count for each key and step: the newest known when it began, and those that came later.

        A key that no database can hold has none.
        """
        rows: dict[Wanted, list[Row]] = {ask: [] for ask in wanted}
        asked = [ask for ask in wanted if all(map(_askable, ask[0]))]
        if asked:
            whole = tuple(_all_whole(kind, [key[i] for key, _ in asked]) for i, kind in enumerate(self._kinds))
            statement = self._statement(connection.dialect.name, whole)
            for place, *row in connection.execute(statement, {"asked": self._document(asked, whole)}):
                rows[asked[place]].append(tuple(row))
        return rows

    def _statement(self, dialect: str, whole: tuple[bool, ...]) -> sa.Select[Any]:
        if (dialect, whole) not in self._statements:
            self._statements[dialect, whole] = self._select(self._wanted(dialect, whole))
        return self._statements[dialect, whole]

    def _select(self, wanted: sa.CTE) -> sa.Select[Any]:
        """Seek the newest row that counts for each key, then take the rows from there on."""
        lookup = self._lookup
        row, older = (table_of_lookup(lookup, self._kinds).alias(name) for name in ("r", "o"))

        def matches(table: sa.FromClause, asked: sa.FromClause) -> list[sa.ColumnElement[bool]]:
            same = [table.c[column] == asked.c[f"k{place}"] for place, (column, _) in enumerate(lookup.match)]
            return [*same, table.c[lookup.valid_at] <= asked.c.high, table.c[lookup.valid_at] > asked.c.low]

        certain = [] if lookup.known_at is None else [older.c[lookup.known_at] <= wanted.c.known]
        newest = sa.select(sa.func.max(older.c[lookup.valid_at])).where(*matches(older, wanted), *certain)
        since = sa.func.coalesce(newest.scalar_subquery(), wanted.c.low).label("since")
        asked = sa.select(*wanted.c, since).cte("since").prefix_with("MATERIALIZED")
        joined = sa.and_(*matches(row, asked), row.c[lookup.valid_at] >= asked.c.since)
        return sa.select(asked.c.place, *selected(lookup, row)).join_from(asked, row, joined)

    def _wanted(self, dialect: str, whole: tuple[bool, ...]) -> sa.CTE:
        """The JSON document as a table."""
        kinds = [sa.BigInteger() if w else _SQL_TYPES[kind] for kind, w in zip(self._kinds, whole, strict=True)]
        names = [*(f"k{place}" for place in range(len(kinds))), *_BOUNDS]
        columns = [sa.column("place", sa.Integer()), *map(sa.column, names, [*kinds, *[Moment()] * len(_BOUNDS)])]
        document = sa.bindparam("asked", type_=sa.Text())
        if dialect == "postgresql":
            records = sa.func.jsonb_to_recordset(sa.cast(document, postgresql.JSONB))
            return sa.select(records.table_valued(*columns).render_derived("asked", with_types=True)).cte("wanted")
        if dialect == "sqlite":
            item = sa.func.json_each(document).table_valued("value", name="asked")
            parts = [sa.func.json_extract(item.c.value, f"$.{c.name}", type_=c.type).label(c.name) for c in columns]
            return sa.select(*parts).cte("wanted").prefix_with("MATERIALIZED")
        raise ConfigurationError(f"lookup {self._lookup.name!r}: {dialect} is neither SQLite nor PostgreSQL")

    def _document(self, asked: Sequence[Wanted], whole: tuple[bool, ...]) -> str:
        return msgspec.json.encode(
            [
                {
                    "place": place,
                    **{f"k{i}": _json(self._kinds[i], part, whole[i]) for i, part in enumerate(key)},
                    "low": _text(last_moment(as_of - self._lookup.max_age_s)),
                    "high": _text(last_moment(as_of)),
                    "known": _text(last_moment(as_of + self._lookup.lag_s - _SLACK_S)),
                }
                for place, (key, as_of) in enumerate(asked)
            ]
        ).decode()


def _askable(part: Any) -> bool:
    """False for what a database refuses as a parameter: NUL, a lone surrogate, infinity."""
    if not isinstance(part, str):
        return math.isfinite(part)
    try:
        return b"\0" not in part.encode()
    except UnicodeEncodeError:
        return False


def _all_whole(kind: FieldType, parts: Sequence[Any]) -> bool:
    """Numbers that are all whole are compared as integers, so that an index of integers can be used."""
    if kind is not FieldType.NUMBER:
        return False
    return all(float(part).is_integer() and abs(part) < _BIGINT_END for part in parts)


def _json(kind: FieldType, part: Any, whole: bool) -> Any:  # noqa: FBT001  positional among ourselves
    match kind:
        case FieldType.TIME:
            return _text(from_epoch_s(part))
        case FieldType.BOOLEAN:
            return bool(part)
        case FieldType.NUMBER:
            return int(part) if whole else part
        case FieldType.STRING:
            return part


def _text(moment: datetime) -> str:
    """A UTC moment as SQLite stores it and PostgreSQL, its time zone set to UTC, reads it."""
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")
