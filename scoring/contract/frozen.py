"""Tables that are frozen into a bundle: a JSON file each, columns of one length, checked before they are used."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from scoring.contract.asof import FOREVER_S, Rows
from scoring.contract.decoding import decodable
from scoring.contract.encoder import Column, Floats
from scoring.contract.errors import BundleRejected, ConfigurationError
from scoring.contract.fields import FieldType
from scoring.contract.lookup import FrozenLookup

MAXIMUM_BYTES = 64 * 2**20
Value = float | str | None


class FrozenTable(msgspec.Struct, frozen=True, kw_only=True):
    """The file. Times are seconds since 1970, booleans 0 and 1, null is missing.

    Attributes:
        match: a column for each of ``AsOf.match``.
        valid_at, known_at: None where the lookup names no such column.
        fields: a column for each field of the lookup.
    """

    match: tuple[tuple[Value, ...], ...]
    valid_at: tuple[float | None, ...] | None = None
    known_at: tuple[float | None, ...] | None = None
    fields: tuple[tuple[Value, ...], ...]


decodable(FrozenTable)


def file_of(lookup: str) -> str:
    """The name of a lookup's file in the bundle."""
    return f"lookup-{lookup}.json"


def encode_table(lookup: FrozenLookup, table: Rows) -> bytes:
    """The bytes of a lookup's file; the same rows in any order give the same bytes.

    Raises:
        ConfigurationError: it is too large for a bundle.
    """
    order = sorted(range(len(table.keys)), key=lambda place: _sortable(lookup, table, place))
    keys = [table.keys[place] for place in order]
    content = msgspec.json.encode(
        FrozenTable(
            match=tuple(tuple(key[part] for key in keys) for part in range(len(lookup.match))),
            valid_at=None if lookup.valid_at is None else _times(table.valid_at, order),
            known_at=None if table.known_at is None else _times(table.known_at, order),
            fields=tuple(_values(table.values[field.name], order) for field in lookup.fields),
        )
    )
    if len(content) > MAXIMUM_BYTES:
        raise ConfigurationError(
            f"lookup {lookup.name!r}: its table takes {len(content)} bytes, {MAXIMUM_BYTES} fit into a bundle; look it "
            "up in the table or in a topic instead"
        )
    return content


def decode_table(lookup: FrozenLookup, kinds: Sequence[FieldType], content: bytes) -> Rows:
    """Read a lookup's file.

    Args:
        kinds: types of the record's fields that are matched.

    Raises:
        BundleRejected: it is malformed, or not the table of this lookup.
    """
    try:
        found = msgspec.json.decode(content, type=FrozenTable)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BundleRejected(f"{file_of(lookup.name)}: {error}") from error
    for mistake in _mistakes(lookup, kinds, found):
        raise BundleRejected(f"{file_of(lookup.name)}: {mistake}")
    rows = len(found.match[0])
    types = [field.type for field in lookup.fields]
    return Rows(
        keys=list(zip(*found.match, strict=True)),
        valid_at=np.full(rows, FOREVER_S) if found.valid_at is None else _floats(found.valid_at),
        known_at=None if found.known_at is None else _floats(found.known_at),
        values={
            field.name: _column(kind, values)
            for field, kind, values in zip(lookup.fields, types, found.fields, strict=True)
        },
    )


def _mistakes(lookup: FrozenLookup, kinds: Sequence[FieldType], table: FrozenTable) -> Iterator[str]:
    if len(table.match) != len(lookup.match) or len(table.fields) != len(lookup.fields):
        yield "it has other columns than its lookup"
        return
    if (table.valid_at is None) != (lookup.valid_at is None) or (table.known_at is None) != (lookup.known_at is None):
        yield "it has other times than its lookup"
    columns: list[Sequence[Value]] = [*table.match, *table.fields]
    columns += [times for times in (table.valid_at, table.known_at) if times is not None]
    if len({len(column) for column in columns}) > 1:
        yield "its columns have several lengths"
    types = [*kinds, *(field.type for field in lookup.fields)]
    for kind, column in zip(types, [*table.match, *table.fields], strict=True):
        wanted: type = str if kind is FieldType.STRING else float
        if any(value is not None and type(value) is not wanted for value in column):
            yield f"a column of type {kind.value} holds something else"


def _sortable(lookup: FrozenLookup, table: Rows, place: int) -> tuple[Any, ...]:
    parts: list[Any] = [*table.keys[place], float(table.valid_at[place])]
    if table.known_at is not None:
        parts.append(float(table.known_at[place]))
    parts += [table.values[field.name][place] for field in lookup.fields]
    return tuple((0, 0.0) if _missing(part) else (1, part) for part in parts)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _times(times: Floats, order: Sequence[int]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(times[place]) else float(times[place]) for place in order)


def _values(column: Column, order: Sequence[int]) -> tuple[Value, ...]:
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return tuple(None if _missing(values[place]) else values[place] for place in order)


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _column(kind: FieldType, values: Sequence[Any]) -> Column:
    return list(values) if kind is FieldType.STRING else _floats(values)
