"""Sources: where a model's records are kept, as data, so that a bundle carries it and a backfill needs nothing else.

A source is a table of a SQL database, files, or an HTTP API. Of several sources, those without a ``join`` hold the
records, each some of them; the others add fields to the records, as of their event or by key. No source holds a
secret: a connection is named, and its address and credentials are the environment's business.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from scoring.contract.fields import FieldType
from scoring.contract.lookup import AsOf, LookupField

TIMEOUT_S = 3600.0
_COMPRESSIONS = {".gz", ".bz2", ".xz"}


class Format(StrEnum):
    """How the rows stand in a file."""

    PARQUET = "parquet"
    CSV = "csv"


class Files(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="files"):
    """Files, wherever fsspec reaches.

    Attributes:
        url: of one file, or a pattern such as ``s3://lake/trips/*.parquet``; without credentials.
        format: by default told by each file's ending, ``.parquet`` or ``.csv``, the latter also with ``.gz``, ``.bz2``
            or ``.xz`` behind it.
        delimiter: between the values of a CSV file.
        timezone: of times that are written without an offset, such as ``UTC`` or ``Europe/Berlin``; empty: in a CSV
            file, and as text, they are errors; times that Parquet keeps as such without a zone are UTC.
    """

    url: str
    format: Format | None = None
    delimiter: str = ","
    timezone: str = ""

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone that is stated; None where none is."""
        return ZoneInfo(self.timezone) if self.timezone else None

    def format_of(self, path: str) -> Format | None:
        """How the rows stand in the file at ``path``; None where nothing says so."""
        ending = PurePosixPath(path.lower())
        if ending.suffix in _COMPRESSIONS:
            ending = ending.with_suffix("")
        by_ending = {f".{each.value}": each for each in Format}
        return self.format or by_ending.get(ending.suffix)


class NextLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="by", tag="next-link"):
    """An answer names the address of the next page: at a dotted path of its body, or in its Link header (RFC 8288)."""

    path: str | None = None


class Cursor(msgspec.Struct, frozen=True, kw_only=True, tag_field="by", tag="cursor"):
    """An answer holds, at a dotted path, what the next request repeats as ``parameter``; the last one holds nothing."""

    path: str
    parameter: str


class PageNumber(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="by", tag="page-number"):
    """Pages are counted from ``first``; one without items is behind the last."""

    parameter: str
    first: int = 1


class Offset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="by", tag="offset"):
    """A request says how many items to leave out, and how many to give at most; a page without items is the end."""

    limit: Annotated[int, msgspec.Meta(ge=1)]
    parameter: str = "offset"
    limit_parameter: str = "limit"


Paging = NextLink | Cursor | PageNumber | Offset


class ApiLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How hard an API is asked, and where it ends.

    Attributes:
        attempts: how often one page is asked for.
        request_timeout_s: how long one connection, or the next piece of an answer, may take.
        maximum_pages, maximum_bytes: an answer that is longer in all is an error.
    """

    requests_per_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    attempts: Annotated[int, msgspec.Meta(ge=1)] = 6
    request_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    maximum_pages: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    maximum_bytes: Annotated[int, msgspec.Meta(ge=1)] = 2**30


class Api(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="http"):
    """An HTTP API that answers in JSON.

    Attributes:
        path: below the base URL of the connection.
        parameters: of the query; ``{start}`` and ``{end}`` in a value stand for the interval, in RFC 3339.
        items: dotted path to the list of items in an answer; empty: the answer is the list.
        paging: how the next page is asked for; None: there is one page.
    """

    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    items: str = ""
    paging: Paging | None = None
    limits: ApiLimits = ApiLimits()


class Join(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a source adds fields to the records of others: by the rule of ``lookup.AsOf``, or by key alone.

    Attributes:
        match: pairs of (column of the source, field of the record).
        valid_at: column with the time from which a row holds; None: by key alone, of which there is one row at most.
        known_at: column that says when the row became known; None means that only ``valid_at`` vouches for it.
        lag_s, max_age_s, resolution_s: as in ``lookup.AsOf``.
    """

    match: tuple[tuple[str, str], ...]
    valid_at: str | None = None
    known_at: str | None = None
    lag_s: float = 0.0
    max_age_s: float = 86_400.0
    resolution_s: float = 1.0


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where records, or fields of them, come from.

    Attributes:
        connection: the *name* of a connection; empty where none is needed.
        table: of the connection's database, ``schema.table`` where it needs that; empty of other kinds.
        columns: pairs of (field of the record, column of the source). Of an API, the column is a dotted path.
        name: for people and messages; by default the table, or the end of the path.
        origin: where the source is, if it is not a table.
        join: None of a source that holds records.
        timeout_s: how long a read may take in all.
    """

    connection: str
    table: str
    columns: tuple[tuple[str, str], ...]
    name: str = ""
    origin: Files | Api | None = None
    join: Join | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def title(self) -> str:
        """The name, or what stands for it."""
        return self.name or _default_name(self)

    @property
    def place(self) -> "Source":
        """Where it is and how it is joined, without what is read of it, its name, and how hard it is asked."""
        origin = self.origin
        if isinstance(origin, Api):
            origin = msgspec.structs.replace(origin, limits=ApiLimits())
        return msgspec.structs.replace(self, name="", columns=(), timeout_s=TIMEOUT_S, origin=origin)

    def as_of(self, kinds: Mapping[str, FieldType]) -> AsOf:
        """The join of a joined source as the one that lookups have.

        Args:
            kinds: types of its fields.
        """
        if self.join is None:
            raise ValueError(f"source {self.title!r} is not joined to others")
        return AsOf(
            name=self.title,
            connection=self.connection,
            table=self.table,
            fields=tuple(LookupField(name=field, type=kinds[field]) for field, _ in self.columns),
            **msgspec.structs.asdict(self.join),
        )


def _default_name(source: Source) -> str:
    match source.origin:
        case None:
            return source.table
        case Files(url=url):
            return PurePosixPath(urlsplit(url).path).name or "files"
        case Api(path=path):
            return path.strip("/") or source.connection


def source_mistakes(sources: Sequence[Source], kinds: Mapping[str, FieldType], event_time: str) -> Iterator[str]:
    """Every mistake of the sources of one model, a sentence each.

    Args:
        kinds: type of every field that they must bring together.
        event_time: field of the records.
    """
    for source in sources:
        yield from mistakes_of(source)
    for title, count in Counter(source.title for source in sources).items():
        if count > 1:
            yield f"sources: {title!r} is there {count} times; give each a name of its own"
    yield from _base_mistakes([source for source in sources if source.join is None], event_time)
    yield from _field_mistakes(sources, kinds)


def mistakes_of(source: Source) -> Iterator[str]:
    """Every mistake that one source has by itself, a sentence each."""
    what = f"source {source.title!r}"
    if bool(source.table) == (source.origin is not None):
        yield f"{what}: give a table, files or an API, and one of them only"
    if not source.connection and not isinstance(source.origin, Files):
        yield f"{what}: name the connection that it is read through"
    if source.timeout_s <= 0:
        yield f"{what}: timeout_s is {source.timeout_s:g}; it must be positive"
    match source.origin:
        case Files() as found:
            yield from _files_mistakes(found, what)
        case Api() as api:
            yield from _api_mistakes(api, what)
        case None:
            pass
    if source.join is not None:
        yield from _join_mistakes(source.join, what)


def _files_mistakes(files: Files, what: str) -> Iterator[str]:
    parts = urlsplit(files.url)
    if "@" in parts.netloc:
        yield f"{what}: its URL holds credentials; put them into a connection and name that"
    if "://" not in files.url and not files.url.startswith("/"):
        yield f"{what}: {files.url!r} depends on where a process runs; write the whole path, from / on"
    if files.format_of(parts.path) is None and not any(sign in files.url for sign in "*?["):
        yield f"{what}: nothing says whether it is Parquet or CSV; state the format"
    if len(files.delimiter) != 1:
        yield f"{what}: the delimiter is {files.delimiter!r}; it must be one character"
    try:
        _ = files.zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f"{what}: {files.timezone!r} is no time zone; write one such as UTC or Europe/Berlin"


def _api_mistakes(api: Api, what: str) -> Iterator[str]:
    if "://" in api.path or api.path.startswith("//"):
        yield f"{what}: the path is an address; put its host into the connection's URL"
    if "?" in api.path or "#" in api.path:
        yield f"{what}: the path has a query; state it as parameters"
    for name, count in Counter(name for name, _ in api.parameters).items():
        if count > 1:
            yield f"{what}: the parameter {name!r} is there {count} times"


def _join_mistakes(join: Join, what: str) -> Iterator[str]:
    if not join.match:
        yield f"{what}: there is no column to match"
    if join.valid_at is None and join.known_at is not None:
        yield f"{what}: known_at needs valid_at beside it"
    if join.max_age_s <= 0 or join.resolution_s <= 0 or join.lag_s < 0:
        yield f"{what}: max_age_s and resolution_s must be positive and lag_s not negative"


def _base_mistakes(bases: Sequence[Source], event_time: str) -> Iterator[str]:
    if not bases:
        yield "sources: each is joined to others; at least one must hold the records"
        return
    first, *others = bases
    fields = {field for field, _ in first.columns}
    if event_time not in fields:
        yield f"source {first.title!r}: it holds records, but not their event time {event_time!r}"
    for other in others:
        apart = sorted(fields ^ {field for field, _ in other.columns})
        if apart:
            told = ", ".join(map(repr, apart))
            yield f"source {other.title!r}: it must have the fields of {first.title!r}; only one has {told}"


def _field_mistakes(sources: Sequence[Source], kinds: Mapping[str, FieldType]) -> Iterator[str]:
    bases = {field for source in sources if source.join is None for field, _ in source.columns}
    added = Counter(field for source in sources if source.join is not None for field, _ in source.columns)
    for field in kinds:
        if field not in bases and field not in added:
            yield f"sources: none has the field {field!r}"
    for field in sorted({*bases, *added} - {*kinds}):
        yield f"sources: the field {field!r} is not declared"
    for field in sorted({field for field in added if added[field] > 1 or field in bases}):
        yield f"sources: the field {field!r} comes from more than one; leave it to one of them"
    for source in sources:
        for column, field in source.join.match if source.join else ():
            if field not in bases:
                yield f"source {source.title!r}: column {column!r} is matched to {field!r}, which no record has"
