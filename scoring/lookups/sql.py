"""Looked-up values from SQL databases: one query per lookup and micro-batch for what a bounded cache lacks."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema, FieldType, TableLookup
from scoring.lookups import asof
from scoring.lookups.database import Connections, Engines, reading
from scoring.lookups.fetch import Fetch, Wanted
from scoring.lookups.table import Row, as_rows

TIME_TO_LIVE_S = 60.0
CAPACITY_KEYS = 100_000
# A lookup keeps its micro-batch waiting; a database that takes longer counts as away.
STATEMENT_TIMEOUT_MS = 10_000


class _Entry(msgspec.Struct, frozen=True):
    """What the database said about one key and step; no row is an answer too."""

    fetched_at_s: float
    rows: tuple[Row, ...]


class SqlLookups:
    """A ``LookupSource`` over SQL databases (SQLite, PostgreSQL). Not for use by several threads at once.

    Args:
        connections: the SQLAlchemy URL of a connection by its name.
        time_to_live_s: how long an answer, also that there is no row, is believed.
        capacity_keys: how many answers are kept for each lookup.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        time_to_live_s: float = TIME_TO_LIVE_S,
        capacity_keys: int = CAPACITY_KEYS,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = Engines(connections, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
        self._time_to_live_s = time_to_live_s
        self._capacity_keys = capacity_keys
        self._clock_s = clock_s
        self._readers: dict[tuple[TableLookup, tuple[FieldType, ...]], _Reader] = {}

    @property
    def queries(self) -> int:
        """How many queries were sent so far."""
        return sum(reader.queries for reader in self._readers.values())

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """The looked-up columns by ``lookup.field`` (see ``LookupSource``).

        Raises:
            Unavailable: a database cannot be read now.
            ConfigurationError: a connection is unknown, or a database refuses the query.
        """
        found: dict[str, Column] = {}
        types = schema.column_types()
        for lookup in schema.lookups:
            reader = self._reader(lookup, tuple(types[field] for _, field in lookup.match))
            queries = asof.ask(lookup, columns, rows, schema.event_time)
            found.update(asof.answer(lookup, queries, reader.table(queries)))
        return found

    def close(self) -> None:
        """Closes the connections and forgets what was fetched."""
        self._engines.close()
        self._readers.clear()

    def _reader(self, lookup: TableLookup, kinds: tuple[FieldType, ...]) -> "_Reader":
        key = lookup, kinds
        if key not in self._readers:
            self._readers[key] = _Reader(
                lookup, kinds, self._engines, self._time_to_live_s, self._capacity_keys, self._clock_s
            )
        return self._readers[key]


class _Reader:
    """One lookup and its cache."""

    def __init__(
        self,
        lookup: TableLookup,
        kinds: tuple[FieldType, ...],
        engines: Engines,
        time_to_live_s: float,
        capacity_keys: int,
        clock_s: Callable[[], float],
    ) -> None:
        self._lookup = lookup
        self._kinds = kinds
        self._engines = engines
        self._fetch = Fetch(lookup, kinds)
        self._time_to_live_s = time_to_live_s
        self._capacity_keys = capacity_keys
        self._clock_s = clock_s
        # In the order in which the answers were fetched, so the oldest are in front.
        self._cache: OrderedDict[Wanted, _Entry] = OrderedDict()
        self.queries = 0

    def table(self, queries: asof.Queries) -> asof.Rows:
        """All rows that can count for these queries."""
        wanted = dict.fromkeys(
            (key, as_of) for key, as_of in zip(queries.keys, queries.as_of.tolist(), strict=True) if None not in key
        )
        now_s = self._clock_s()
        self._expire(now_s)
        known = {ask: entry for ask in wanted if (entry := self._cache.get(ask)) is not None}
        if len(known) < len(wanted):
            fetched = self._fetched([ask for ask in wanted if ask not in known], now_s)
            known.update(fetched)
            self._keep(fetched)
        return as_rows(self._lookup, self._kinds, [row for entry in known.values() for row in entry.rows])

    def _fetched(self, missing: Sequence[Wanted], now_s: float) -> dict[Wanted, _Entry]:
        self.queries += 1
        engine = self._engines.get(self._lookup.connection)
        with reading(engine, f"lookup {self._lookup.name!r}") as connection:
            return {ask: _Entry(now_s, tuple(rows)) for ask, rows in self._fetch(connection, missing).items()}

    def _keep(self, fetched: dict[Wanted, _Entry]) -> None:
        self._cache.update(fetched)
        while len(self._cache) > self._capacity_keys:
            self._cache.popitem(last=False)

    def _expire(self, now_s: float) -> None:
        while self._cache and next(iter(self._cache.values())).fetched_at_s + self._time_to_live_s <= now_s:
            self._cache.popitem(last=False)
