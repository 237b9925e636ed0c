"""Looked-up values from SQL databases: one query per lookup and micro-batch for what a bounded cache lacks."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from scoring.contract import asof
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, FieldType, TableLookup, TopicLookup
from scoring.contract.lookup import MAXIMUM_TIMEOUT_S, OnOutage
from scoring.lookups.database import Connections, Engines, reading
from scoring.lookups.fetch import Fetch, Wanted
from scoring.lookups.patience import Patience
from scoring.lookups.rows import Row, as_rows

TIME_TO_LIVE_S = 60.0
CAPACITY_KEYS = 100_000
# Of the lookups that versions had once, some are no longer asked: more than so many are forgotten with their answers.
KEPT_LOOKUPS = 64
# Whoever asked stops waiting earlier (``timeout_s`` of the lookup); the database is to stop working some time too.
STATEMENT_TIMEOUT_MS = int(MAXIMUM_TIMEOUT_S * 1000)
# Where an outage makes missing values or dead letters, how long the database is not asked again.
RETRY_S = 5.0


Asked = TableLookup | TopicLookup


class _Entry(msgspec.Struct, frozen=True):
    """What the database said about one key and step; no row is an answer too."""

    fetched_at_s: float
    rows: tuple[Row, ...]


class SqlLookups:
    """A ``LookupSource`` over SQL databases (SQLite, PostgreSQL). Not for use by several threads at once.

    It answers lookups of ``kinds``: a worker keeps topics in memory, others ask the tables that trained them.

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
        kinds: tuple[type[Asked], ...] = (TableLookup, TopicLookup),
        time_to_live_s: float = TIME_TO_LIVE_S,
        capacity_keys: int = CAPACITY_KEYS,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds = kinds
        self._engines = Engines(connections, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
        self._time_to_live_s = time_to_live_s
        self._capacity_keys = capacity_keys
        self._clock_s = clock_s
        self._readers: OrderedDict[tuple[Asked, tuple[FieldType, ...]], _Reader] = OrderedDict()

    @property
    def queries(self) -> int:
        """How many queries were sent so far, for the lookups that are kept."""
        return sum(reader.queries for reader in self._readers.values())

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """The looked-up columns by ``lookup.field`` (see ``LookupSource``).

        Raises:
            Unavailable: a database cannot be read now, and its lookup says that records wait for it.
            ConfigurationError: a connection is unknown, or a database refuses the query.
        """
        found: dict[str, Column] = {}
        types = schema.column_types()
        for lookup in schema.lookups:
            if not isinstance(lookup, self._kinds):
                continue
            reader = self._reader(lookup, tuple(types[field] for _, field in lookup.match))
            queries = asof.ask(lookup, columns, rows, schema.event_time)
            found.update(reader.answer(queries))
        return found

    def close(self) -> None:
        """Closes the connections and forgets what was fetched."""
        self._engines.close()
        self._readers.clear()

    def _reader(self, lookup: Asked, kinds: tuple[FieldType, ...]) -> "_Reader":
        key = lookup, kinds
        if key not in self._readers:
            self._readers[key] = _Reader(
                lookup, kinds, self._engines, self._time_to_live_s, self._capacity_keys, self._clock_s
            )
            while len(self._readers) > KEPT_LOOKUPS:
                self._readers.popitem(last=False)
        self._readers.move_to_end(key)
        return self._readers[key]


class _Reader:
    """One lookup and its cache."""

    def __init__(
        self,
        lookup: Asked,
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
        self._what = f"lookup {lookup.name!r}"
        self._patience: Patience[dict[Wanted, list[Row]]] = Patience(self._what, lookup.timeout_s)
        self._away_until_s = -math.inf
        self.queries = 0

    def answer(self, queries: asof.Queries) -> dict[str, Column]:
        """The looked-up columns; during an outage, where the lookup has an answer to it, what the cache still knows."""
        asks: list[Wanted] = list(zip(queries.keys, queries.as_of.tolist(), strict=True))
        wanted = dict.fromkeys(ask for ask in asks if None not in ask[0])
        now_s = self._clock_s()
        self._expire(now_s)
        known = {ask: entry for ask in wanted if (entry := self._cache.get(ask)) is not None}
        asked = None
        try:
            if len(known) < len(wanted):
                fetched = self._fetched([ask for ask in wanted if ask not in known], now_s)
                known.update(fetched)
                self._keep(fetched)
        except Unavailable:
            if self._lookup.on_outage == OnOutage.WAIT:
                raise
            asked = np.array([None in ask[0] or ask in known for ask in asks], dtype=np.bool_)
        rows = [row for entry in known.values() for row in entry.rows]
        return asof.answer(self._lookup, queries, as_rows(self._lookup, self._kinds, rows), asked)

    def _fetched(self, missing: Sequence[Wanted], now_s: float) -> dict[Wanted, _Entry]:
        if now_s < self._away_until_s:
            raise Unavailable(f"{self._what}: the database was away just now")
        self.queries += 1
        try:
            found = self._patience.ask(partial(self._query, missing))
        except Unavailable:
            if self._lookup.on_outage != OnOutage.WAIT:  # who waits has pauses of his own
                self._away_until_s = self._clock_s() + RETRY_S
            raise
        return {ask: _Entry(now_s, tuple(rows)) for ask, rows in found.items()}

    def _query(self, missing: Sequence[Wanted]) -> dict[Wanted, list[Row]]:
        with reading(self._engines.get(self._lookup.connection), self._what) as connection:
            return self._fetch(connection, missing)

    def _keep(self, fetched: dict[Wanted, _Entry]) -> None:
        self._cache.update(fetched)
        while len(self._cache) > self._capacity_keys:
            self._cache.popitem(last=False)

    def _expire(self, now_s: float) -> None:
        while self._cache and next(iter(self._cache.values())).fetched_at_s + self._time_to_live_s <= now_s:
            self._cache.popitem(last=False)
