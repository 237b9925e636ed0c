"""A table as the database has it: whether what is declared is there, and from when to when its rows are."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from scoring.contract.clock import from_epoch_s, rfc3339
from scoring.contract.features import FieldType
from scoring.contract.source import Files, Source
from scoring.lookups.database import Engines, Moment, reading
from training.check.findings import Finding, Level, Section
from training.check.outline import Outline
from training.definition import ModelDefinition

_SOME = 200


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a table says of itself.

    Attributes:
        keys: different keys.
        ahead: rows whose event lies in the future.
        first, last: events, the last one that is not ahead.
    """

    rows: int
    keys: int
    without_time: int
    without_key: int
    ahead: int
    first: datetime | None
    last: datetime | None


class Table:
    """A source of a definition that is a table, to be asked.

    Args:
        now: what counts as the future.
    """

    def __init__(
        self, definition: ModelDefinition, source: Source, engines: Engines, outline: Outline, now: datetime
    ) -> None:
        self._definition = definition
        self._source = source
        self._columns = dict(source.columns)
        self._engine = engines.get(source.connection)
        self._outline = outline
        self._now = now
        self._what = f"source {source.title!r}"

    def missing(self) -> list[Finding]:
        """The table or the columns that are not there."""
        schema, _, table = self._source.table.rpartition(".")
        try:
            with reading(self._engine, self._what) as connection:
                found = sa.inspect(connection).get_columns(table, schema or None)
        except exc.NoSuchTableError:
            return [self._no_table(table, schema or None)]
        names = [str(column["name"]) for column in found]
        return [self._no_column(field, column, names) for field, column in self._wanted() if column not in names]

    def facts(self) -> Facts:
        """Counts and times.

        Raises:
            Unavailable: the database cannot be read now.
            ConfigurationError: it refuses the query.
        """
        moment, key = self._column(self._definition.event_time, FieldType.TIME), self._column(self._definition.key)
        past = moment <= self._now
        query = sa.select(
            sa.func.count(),
            sa.func.count(sa.distinct(key)),
            sa.func.count(moment),
            sa.func.count(key),
            sa.func.count(sa.case((moment > self._now, 1))),
            sa.func.min(moment, type_=Moment()),
            sa.func.max(sa.case((past, moment)), type_=Moment()),
        ).select_from(self._table())
        with reading(self._engine, self._what) as connection:
            rows, keys, timed, keyed, ahead, first, last = connection.execute(query).one()
        return Facts(
            rows=rows,
            keys=keys,
            without_time=rows - timed,
            without_key=rows - keyed,
            ahead=ahead,
            first=None if first is None else from_epoch_s(first),
            last=None if last is None else from_epoch_s(last),
        )

    def findings(self, facts: Facts) -> Iterator[Finding]:
        """What the facts say."""
        for each in fact_findings(self._definition, facts, self._now):
            yield self._found(each.level, each.about, each.sentence, each.remedy)

    def written(self) -> Iterator[Finding]:
        """How the times stand in the database: a time without an offset is read as UTC."""
        kinds_declared = self._definition.source_types
        times = [name for name in self._columns if kinds_declared[name] is FieldType.TIME]
        if self._engine.dialect.name == "sqlite":
            yield from (found for name in times for found in self._as_text(name))
            return
        kinds = self._reflected()
        for name in times:
            kind = kinds.get(self._columns[name])
            if isinstance(kind, sa.DateTime) and not kind.timezone:
                told = f"the times of {name!r} are stored without a time zone, and are read as UTC"
                yield self._warning(name, told, "where they are local times, convert them in a view")

    def _as_text(self, name: str) -> Iterator[Finding]:
        """SQLite keeps times as text, and compares them as text."""
        column = self._column(name)
        query = sa.select(column).select_from(self._table()).where(column.is_not(None)).limit(_SOME)
        with reading(self._engine, self._what) as connection:
            values = [row[0] for row in connection.execute(query)]
        strange = next((value for value in values if not _as_stored(value)), None)
        if strange is not None:
            told = f"{name!r} holds {strange!r}: SQLite compares times as text, so all must read as 2024-01-31 15:04:05"
            yield self._error(name, told, "write the times in that form, without an offset and in UTC")

    def _wanted(self) -> list[tuple[str, str]]:
        """Pairs of (field, column), also of what it is joined by."""
        join = self._source.join
        if join is None:
            return [*self._source.columns]
        times = [column for column in (join.valid_at, join.known_at) if column is not None]
        return [
            *self._source.columns,
            *((field, column) for column, field in join.match),
            *((each, each) for each in times),
        ]

    def _reflected(self) -> Mapping[str, Any]:
        schema, _, table = self._source.table.rpartition(".")
        found = sa.inspect(self._engine).get_columns(table, schema or None)
        return {str(column["name"]): column["type"] for column in found}

    def _table(self) -> sa.TableClause:
        schema, _, table = self._source.table.rpartition(".")
        return sa.table(table, schema=schema or None)

    def _column(self, field: str, kind: FieldType | None = None) -> sa.ColumnClause[Any]:
        return sa.column(self._columns[field], Moment() if kind is FieldType.TIME else None)

    def _no_table(self, table: str, schema: str | None) -> Finding:
        inspected = sa.inspect(self._engine)
        names = [*inspected.get_table_names(schema), *inspected.get_view_names(schema)]
        told = f"connection {self._source.connection!r} has no table {self._source.table!r}"
        return msgspec.structs.replace(
            self._error(None, told, _closest(table, names)), line=line_of_source(self._outline, self._source)
        )

    def _no_column(self, field: str, column: str, names: Sequence[str]) -> Finding:
        told = f"table {self._source.table!r} has no column {column!r}"
        return self._error(field, told, _closest(column, names))

    def _error(self, about: str | None, sentence: str, remedy: str) -> Finding:
        return self._found(Level.ERROR, about, sentence, remedy)

    def _warning(self, about: str | None, sentence: str, remedy: str) -> Finding:
        return self._found(Level.WARNING, about, sentence, remedy)

    def _found(self, level: Level, about: str | None, sentence: str, remedy: str) -> Finding:
        at, source = self._outline, self._source
        return Finding(
            section=Section.SOURCE,
            level=level,
            about=about,
            sentence=sentence,
            remedy=remedy,
            file=at.file,
            line=line_of_source(at, source) if about is None else at.line_of_column(about),
        )


def fact_findings(definition: ModelDefinition, facts: Facts, now: datetime) -> Iterator[Finding]:
    """What the facts say, still without a place in the file."""
    key, event_time = definition.key, definition.event_time
    if facts.rows == 0:
        (what, *others) = definition.all_sources
        told = (
            "the sources hold no records"
            if others
            else f"{'table' if what.table else 'source'} {what.title!r} is empty"
        )
        yield _of_facts(Level.ERROR, None, told, "fill it first")
        return
    doubled = facts.rows - facts.without_key - facts.keys
    if doubled:
        told = f"{doubled:,} of {facts.rows:,} rows have a key {key!r} that another row has too"
        yield _of_facts(Level.ERROR, key, told, "choose a key that names one event, or take the copies out in a view")
    if facts.without_key:
        told = f"{facts.without_key:,} of {facts.rows:,} rows have no key {key!r}"
        yield _of_facts(Level.WARNING, key, told, "such records become dead letters; leave them out in a view")
    if facts.without_time:
        told = f"{facts.without_time:,} of {facts.rows:,} rows have no event time {event_time!r}: they are never read"
        yield _of_facts(Level.WARNING, event_time, told, "fill it in a view, or choose another event time")
    if facts.ahead:
        told = f"{facts.ahead:,} of {facts.rows:,} events lie after now ({rfc3339(now)}) by {event_time!r}"
        yield _of_facts(
            Level.WARNING, event_time, told, "is it local time that is read as UTC, or a plan and no event?"
        )


def _of_facts(level: Level, about: str | None, sentence: str, remedy: str) -> Finding:
    return Finding(section=Section.SOURCE, level=level, about=about, sentence=sentence, remedy=remedy)


def line_of_source(outline: Outline, source: Source) -> int | None:
    """The line that speaks of a source."""
    if "source" in outline.keywords():
        return outline.line_of("source", "table")
    place = source.origin.url if isinstance(source.origin, Files) else getattr(source.origin, "path", source.table)
    return outline.line_of("sources", *filter(None, (source.name, place, source.connection)))


def end_of(last: datetime, now: datetime) -> datetime:
    """The end of an interval that holds the last event: the midnight after it in UTC, or now."""
    midnight = last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return max(min(midnight, now), last + timedelta(microseconds=1))


def _as_stored(value: object) -> bool:
    if not isinstance(value, str) or "T" in value:
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def _closest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(sorted(names)[:20])}" if names else "there is none at all"
