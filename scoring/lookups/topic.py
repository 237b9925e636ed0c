"""Looked-up values from compacted topics: each is read once, kept in memory, and kept up to date by a thread."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from scoring.contract import asof
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, Field, FieldType, TopicLookup
from scoring.contract.lookup import OnMiss, OnOutage
from scoring.lookups.rows import Row, as_rows
from scoring.scorer.decode import Decoder

POLL_S = 0.2
CONSUME_RECORDS = 500
METADATA_TIMEOUT_S = 5.0
STOP_PATIENCE_S = 5.0
# How often partitions are looked for that were added to the topic.
PARTITIONS_INTERVAL_S = 30.0
# A topic that no live bundle has asked for in so long is let go of.
IDLE_S = 86_400.0
_NONE = -1  # of no partition is as much read as there is, because there is none
log = structlog.get_logger()


class Versions:
    """The rows of a topic: of each Kafka key its newest versions. Not for use by several threads at once."""

    def __init__(self, versions: int) -> None:
        self._versions = versions
        # Lists, for nearly all hold one row: an empty deque takes ten times as much.
        self._by_record: dict[bytes, list[tuple[asof.Key, Row]]] = {}
        self._by_match: dict[asof.Key, list[Row]] = {}
        self.rows = 0

    def put(self, record: bytes, key: asof.Key, row: Row) -> None:
        """A newer version of a record."""
        kept = self._by_record.setdefault(record, [])
        kept.append((key, row))
        self._by_match.setdefault(key, []).append(row)
        self.rows += 1
        if len(kept) > self._versions:
            self._remove(*kept.pop(0))

    def delete(self, record: bytes) -> None:
        """The record is gone, with all of its versions."""
        for key, row in self._by_record.pop(record, ()):
            self._remove(key, row)

    def matching(self, keys: Iterable[asof.Key]) -> list[Row]:
        """All rows that match one of the keys."""
        return [row for key in keys for row in self._by_match.get(key, ())]

    def _remove(self, key: asof.Key, row: Row) -> None:
        rows = self._by_match[key]
        # The row itself, which is the oldest of its record and so stands near the front.
        del rows[next(place for place, other in enumerate(rows) if other is row)]
        if not rows:
            del self._by_match[key]
        self.rows -= 1


class TopicTable:
    """One topic in memory.

    Args:
        kinds: types of the record's fields that are matched.
        consumer: makes the client that reads the topic; it commits nothing.
    """

    def __init__(self, lookup: TopicLookup, kinds: Sequence[FieldType], consumer: Callable[[], Consumer]) -> None:
        self._lookup = lookup
        self._kinds = kinds
        self._consumer = consumer
        self._decoder = Decoder(_fields(lookup, kinds))
        self._versions = Versions(lookup.versions)
        self._lock = threading.Lock()
        self._unread = {_NONE}
        self._away: str | None = "it has not been read to its end yet"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lookup-{lookup.name}", daemon=True)
        self.unreadable = 0
        """Records of the topic that are no rows; they are left out."""

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end."""
        self._stop.set()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(STOP_PATIENCE_S)

    def answer(self, lookup: TopicLookup, queries: asof.Queries) -> dict[str, Column]:
        """The looked-up columns.

        Args:
            lookup: as it is asked now; what it asks of the topic is what the table was made for.

        Raises:
            Unavailable: the topic was not read to its end yet, or holds too much.
        """
        with self._lock:
            if self._away is not None:
                raise Unavailable(f"lookup {self._lookup.name!r}: topic {self._lookup.topic}: {self._away}")
            rows = self._versions.matching(dict.fromkeys(key for key in queries.keys if None not in key))
        return asof.answer(lookup, queries, as_rows(lookup, self._kinds, rows))

    def take(self, messages: Sequence[Message]) -> None:
        """Take in what was read of the topic, in the order in which it was."""
        records = [message for message in messages if message.error() is None]
        if records:
            self._keep(records)
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                self._read_to_its_end(message.partition())
            elif error is not None:
                log.warning("lookup.unreadable", lookup=self._lookup.name, error=error.str())

    def expect(self, partitions: Iterable[int]) -> None:
        """These partitions have to be read to their ends before anything is answered."""
        with self._lock:
            self._unread = {*partitions, *(self._unread - {_NONE})}

    def _read_to_its_end(self, partition: int | None) -> None:
        with self._lock:
            self._unread.discard(_NONE if partition is None else partition)
            if not self._unread and self._away is not None and not self._stop.is_set():
                self._away = None
                log.info("lookup.read", lookup=self._lookup.name, topic=self._lookup.topic, rows=self._versions.rows)

    def _keep(self, records: Sequence[Message]) -> None:
        values = [message.value() for message in records]
        decoded = self._decoder.decode(values)
        rows = dict(zip(decoded.rows, self._rows(decoded.columns), strict=True))
        with self._lock:
            for place, message in enumerate(records):
                key = message.key() or b""
                if values[place] is None:
                    self._versions.delete(key)
                elif place in rows:
                    row = rows[place]
                    self._versions.put(key, row[: len(self._kinds)], row)
                else:
                    self.unreadable += 1
            if self._versions.rows > self._lookup.maximum_rows:
                self._give_up()
        if self.unreadable and self.unreadable & (self.unreadable - 1) == 0:
            log.warning("lookup.no_row", lookup=self._lookup.name, topic=self._lookup.topic, count=self.unreadable)

    def _give_up(self) -> None:
        """Memory is bounded: nothing is kept of a topic that does not fit."""
        limit = self._lookup.maximum_rows
        self._away = f"it holds more than {limit} rows; raise maximum_rows of the lookup, or use a table"
        self._versions = Versions(self._lookup.versions)
        self._stop.set()
        log.error("lookup.too_large", lookup=self._lookup.name, topic=self._lookup.topic, maximum_rows=limit)

    def _rows(self, columns: Columns) -> Iterator[Row]:
        names = [column for column, _ in self._lookup.match]
        times = [name for name in (self._lookup.valid_at, self._lookup.known_at) if name is not None]
        across = [columns[name] for name in (*names, *times, *(field.name for field in self._lookup.fields))]
        return zip(*(_plain(column) for column in across), strict=True)

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        consumer = self._consumer()
        known: set[int] = set()
        look_at_s = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + (PARTITIONS_INTERVAL_S if self._look(consumer, known) else 1.0)
            self.take(consumer.consume(CONSUME_RECORDS, POLL_S))
        consumer.close()

    def _look(self, consumer: Consumer, known: set[int]) -> bool:
        """Read partitions that are not read yet; false where the topic is not to be seen."""
        topic = self._lookup.topic
        try:
            found = consumer.list_topics(topic, timeout=METADATA_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            return self._not_seen(error.args[0], known)
        if found.error is not None or not found.partitions:
            return self._not_seen(found.error, known)
        more = found.partitions.keys() - known
        if more:
            self.expect(more)
            known |= more
            consumer.incremental_assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in sorted(more)])
        return True

    def _not_seen(self, error: KafkaError | None, known: set[int]) -> bool:
        if not known:  # what was read before stays good while the broker is away
            why = "it is not there" if error is None else error.str()
            with self._lock:
                self._away = f"it has not been read to its end yet ({why})"
        return False


class TopicLookups:
    """A ``LookupSource`` over compacted topics. Several threads may use it; they share what is in memory.

    Args:
        consumer: makes the client that reads a topic.
        clock_s: monotonic seconds.
    """

    def __init__(self, consumer: Callable[[], Consumer], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._tables: dict[Any, TopicTable] = {}
        self._used_at_s: dict[Any, float] = {}

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """The looked-up columns by ``lookup.field`` (see ``LookupSource``).

        Raises:
            Unavailable: a topic cannot answer now, and its lookup says that records wait for it.
        """
        found: dict[str, Column] = {}
        types = schema.column_types()
        for lookup in schema.lookups:
            if not isinstance(lookup, TopicLookup):
                continue
            table = self._table(lookup, tuple(types[field] for _, field in lookup.match))
            queries = asof.ask(lookup, columns, rows, schema.event_time)
            try:
                found.update(table.answer(lookup, queries))
            except Unavailable:
                if lookup.on_outage == OnOutage.WAIT:
                    raise
                found.update(asof.unanswered(lookup, rows))
        return found

    def close(self) -> None:
        """End all threads."""
        with self._lock:
            tables = [*self._tables.values()]
            self._tables.clear()
            self._used_at_s.clear()
        for table in tables:
            table.stop()
        for table in tables:
            table.join()

    def _table(self, lookup: TopicLookup, kinds: tuple[FieldType, ...]) -> TopicTable:
        # What is kept in memory does not depend on how it is asked for: versions of a model share it.
        same = {"name": "any", "lag_s": 0.0, "max_age_s": 1.0, "resolution_s": 1.0, "timeout_s": 1.0}
        key = msgspec.structs.replace(lookup, **same, on_miss=OnMiss.MISSING, on_outage=OnOutage.WAIT), kinds
        with self._lock:
            self._used_at_s[key] = self._clock_s()
            if key not in self._tables:
                self._let_go()
                self._tables[key] = TopicTable(lookup, kinds, self._consumer)
                self._tables[key].start()
            return self._tables[key]

    def _let_go(self) -> None:
        for key in [key for key, used_s in self._used_at_s.items() if used_s + IDLE_S < self._clock_s()]:
            self._tables.pop(key).stop()
            del self._used_at_s[key]


def _fields(lookup: TopicLookup, kinds: Sequence[FieldType]) -> list[Field]:
    matched = [
        Field(name=column, type=kind, required=True) for (column, _), kind in zip(lookup.match, kinds, strict=True)
    ]
    times = [name for name in (lookup.valid_at, lookup.known_at) if name is not None]
    fields = [
        *matched,
        *(Field(name=name, type=FieldType.TIME, required=name == lookup.valid_at) for name in times),
        *(Field(name=field.name, type=field.type) for field in lookup.fields),
    ]
    return [*{field.name: field for field in reversed(fields)}.values()]  # a matched column may be a value too


def _plain(column: Column) -> list[Any]:
    """A column as a database gives it: None for what is missing."""
    if isinstance(column, list):
        return column
    return [None if value != value else value for value in column.tolist()]  # type: ignore[union-attr]  # noqa: PLR0124
