"""Where a model's records come from, as a definition declares it. Importing this module imports no client library.

::

    sources = [
        files("s3://lake/trips/*.parquet", connection="lake", columns={"miles": "distance"}),
        http("weather", "v1/observations", items="data", paging=NextLink(), parameters={"from": "{start}"},
             brings=["wind"], join=as_of({"station": "origin"}, valid_at="observed_at", lag=timedelta(hours=1))),
        sql("billing", "fares", brings=["fare"], join=by_key({"trip": "trip_id"})),
    ]

Sources without a join hold the records, each some of them; they have all fields that no other source brings.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import msgspec

from scoring.contract.features import FieldType
from scoring.contract.source import (
    TIMEOUT_S,
    Api,
    ApiLimits,
    Cursor,
    Files,
    Format,
    Join,
    NextLink,
    Offset,
    PageNumber,
    Paging,
    Source,
    source_mistakes,
)

__all__ = [
    "ApiLimits",
    "Cursor",
    "DeclaredSource",
    "Format",
    "NextLink",
    "Offset",
    "PageNumber",
    "as_of",
    "by_key",
    "files",
    "http",
    "mistakes",
    "resolve",
    "sql",
]

_TIMEOUT = timedelta(seconds=TIMEOUT_S)
_NO_LAG = timedelta(0)
_A_DAY = timedelta(days=1)
_A_SECOND = timedelta(seconds=1)
_NONE: Mapping[str, str] = {}


class DeclaredSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source as it is declared: which of its columns are read is told by the definition's fields.

    Attributes:
        place: the source, still without columns.
        columns: column of the source by field, where the names differ.
        brings: fields that a joined source adds; empty of one that holds records.
    """

    place: Source
    columns: Mapping[str, str] = {}
    brings: tuple[str, ...] = ()

    def reading(self, fields: Sequence[str]) -> Source:
        """The source with the columns of these fields."""
        columns = tuple((field, self.columns.get(field, field)) for field in fields)
        return msgspec.structs.replace(self.place, columns=columns)


def sql(
    connection: str,
    table: str,
    *,
    columns: Mapping[str, str] = _NONE,
    brings: Sequence[str] = (),
    join: Join | None = None,
    name: str = "",
    timeout: timedelta = _TIMEOUT,
) -> DeclaredSource:
    """A table of a database.

    Args:
        connection: the *name* of a connection (``BATON_CONNECTIONS__<NAME>``).
        table: ``schema.table`` where it needs that.
        columns: column of the source by field, where the names differ.
        brings: fields that it adds to the records of others; it then needs a ``join``.
        join: how they are brought to a record: ``as_of`` or ``by_key``.
        name: for people and messages; by default that of the table.
        timeout: how long a read may take in all.
    """
    source = _source(connection, table, None, join, name, timeout)
    return DeclaredSource(place=source, columns=columns, brings=tuple(brings))


def files(
    url: str,
    *,
    connection: str = "",
    format: Format | None = None,  # noqa: A002  the word that people look for
    delimiter: str = ",",
    timezone: str = "",
    columns: Mapping[str, str] = _NONE,
    brings: Sequence[str] = (),
    join: Join | None = None,
    name: str = "",
    timeout: timedelta = _TIMEOUT,
) -> DeclaredSource:
    """Parquet or CSV files, by a URL, a path from the root, or a pattern such as ``s3://lake/trips/*.parquet``.

    A file that is not there yet is waited for as the task of the source is tried again.

    Args:
        connection: the *name* of a connection whose URL holds the store's credentials and options.
        format: by default told by each file's ending.
        delimiter: between the values of a CSV file.
        timezone: of times that are written without an offset, such as ``UTC`` or ``Europe/Berlin``; by default such
            text is an error, and Parquet's times without a zone are UTC.
        columns, brings, join, name, timeout: see ``sql``; the default name is the end of the URL.
    """
    origin = Files(url=url, format=format, delimiter=delimiter, timezone=timezone)
    source = _source(connection, "", origin, join, name, timeout)
    return DeclaredSource(place=source, columns=columns, brings=tuple(brings))


def http(
    connection: str,
    path: str,
    *,
    items: str = "",
    parameters: Mapping[str, str] = _NONE,
    paging: Paging | None = None,
    limits: ApiLimits | None = None,
    columns: Mapping[str, str] = _NONE,
    brings: Sequence[str] = (),
    join: Join | None = None,
    name: str = "",
    timeout: timedelta = _TIMEOUT,
) -> DeclaredSource:
    """An HTTP API that answers in JSON.

    Args:
        connection: the *name* of a connection whose URL is the API's base and holds what lets us in.
        path: below that.
        items: dotted path to the list of items in an answer; empty: the answer is the list.
        parameters: of the query; ``{start}`` and ``{end}`` in a value stand for the interval, in RFC 3339.
        paging: ``NextLink``, ``Cursor``, ``PageNumber`` or ``Offset``; None: there is one page.
        limits: how often and how much it is asked.
        columns: dotted path in an item by field, where it is not the field's name.
        brings, join, name, timeout: see ``sql``; the default name is the path.
    """
    origin = Api(
        path=path, parameters=tuple(parameters.items()), items=items, paging=paging, limits=limits or ApiLimits()
    )
    source = _source(connection, "", origin, join, name, timeout)
    return DeclaredSource(place=source, columns=columns, brings=tuple(brings))


def as_of(
    match: Mapping[str, str],
    *,
    valid_at: str,
    known_at: str | None = None,
    lag: timedelta = _NO_LAG,
    max_age: timedelta = _A_DAY,
    resolution: timedelta = _A_SECOND,
) -> Join:
    """A record gets the newest row that held, and was known, at its event: the join of ``training.lookup``.

    Args:
        match: field of the record by column of the source.
        valid_at, known_at, lag, max_age, resolution: see ``training.lookup.table_lookup``.
    """
    return Join(
        match=tuple(match.items()),
        valid_at=valid_at,
        known_at=known_at,
        lag_s=lag.total_seconds(),
        max_age_s=max_age.total_seconds(),
        resolution_s=resolution.total_seconds(),
    )


def by_key(match: Mapping[str, str]) -> Join:
    """A record gets the one row of its key: a label that lives in another system.

    Such a row says nothing of when it became known: what a feature reads must have been known at every event.

    Args:
        match: field of the record by column of the source.
    """
    return Join(match=tuple(match.items()))


def resolve(declared: Sequence[DeclaredSource], fields: Sequence[str]) -> tuple[Source, ...]:
    """The sources with their columns: of these fields a base has those that no joined source brings.

    A source that brings none of the fields is left out: a backfill, say, does not read the label's.
    """
    brought = {field for each in declared if each.place.join is not None for field in each.brings}
    base = [field for field in fields if field not in brought]
    sources = (
        each.reading(base if each.place.join is None else [field for field in each.brings if field in fields])
        for each in declared
    )
    return tuple(source for source in sources if source.join is None or source.columns)


def mistakes(declared: Sequence[DeclaredSource], kinds: Mapping[str, FieldType], event_time: str) -> Iterator[str]:
    """Every mistake of the sources of a definition, a sentence each.

    Args:
        kinds: type of every field and of the label.
    """
    for each in declared:
        what = f"source {each.place.title!r}"
        if each.place.join is None and each.brings:
            yield f"{what}: it brings {[*each.brings]}, but nothing says how; give it a join, as_of or by_key"
        if each.place.join is not None and not each.brings:
            yield f"{what}: it is joined, but brings nothing; list the fields that it adds"
        for field in (*each.columns, *each.brings):
            if field not in kinds:
                yield f"{what}: {field!r} is neither a field nor the label"
    yield from source_mistakes(resolve(declared, [*kinds]), kinds, event_time)


def _source(
    connection: str, table: str, origin: Files | Api | None, join: Join | None, name: str, timeout: timedelta
) -> Source:
    return Source(
        connection=connection,
        table=table,
        columns=(),
        name=name,
        origin=origin,
        join=join,
        timeout_s=timeout.total_seconds(),
    )
