"""Text as columns of declared types: what a CSV file holds, and times that a Parquet file holds as text."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.contract.clock import Moment, epoch_s
from scoring.contract.encoder import Column, Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType

MAXIMUM_VALUE_CHARACTERS = 100
_ONE_US = 1e6
_FORMS = {
    FieldType.NUMBER: "a number",
    FieldType.BOOLEAN: "a boolean; write true or false",
    FieldType.TIME: "a time; write it as 2024-01-31T12:00:00Z, or as seconds since 1970",
}
_WITHOUT_OFFSET = "; it has no offset: state the timezone of the files"
_BOOLEANS = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


def from_text(texts: Any, kind: FieldType, what: str, first_row: int, zone: tzinfo | None = None) -> Column:
    """An Arrow column of text as one of the declared type; an empty text is a missing value, but for strings.

    Args:
        what: names source, file and column in messages.
        first_row: the number of the column's first row.
        zone: of times without an offset; None takes them for errors. What a change of clocks makes occur twice is the
            first of the two, what it leaves out is later by the change.

    Raises:
        ConfigurationError: a text is not of that type; the message names its row, and it.
    """
    if kind is FieldType.STRING:
        return list(texts.to_pylist())
    stripped = pc.utf8_trim_whitespace(texts)
    filled = pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)
    found = _at_once(filled, kind)
    if found is None:
        found = _one_by_one(filled.to_pylist(), kind, what, first_row, zone)
    return np.where(np.isinf(found), np.nan, found)


def _at_once(texts: Any, kind: FieldType) -> Floats | None:
    """None where the texts are not all of one form that Arrow reads."""
    for form in _AT_ONCE[kind]:
        with suppress(pa.ArrowInvalid):
            return form(texts)
    return None


def _numbers(texts: Any) -> Floats:
    return np.array(pc.cast(texts, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _booleans(texts: Any) -> Floats:
    return _numbers(pc.cast(texts, pa.bool_()).cast(pa.int8()))


def _times(texts: Any) -> Floats:
    return _numbers(pc.cast(texts, pa.timestamp("us", tz="UTC")).cast(pa.int64())) / _ONE_US


_AT_ONCE: Mapping[FieldType, tuple[Callable[[Any], Floats], ...]] = {
    FieldType.NUMBER: (_numbers,),
    FieldType.BOOLEAN: (_booleans,),
    FieldType.TIME: (_times, _numbers),
}


def _one_by_one(texts: list[str | None], kind: FieldType, what: str, first_row: int, zone: tzinfo | None) -> Floats:
    """Slower, for what Arrow does not read, and to name the row of what nobody reads."""
    values = np.full(len(texts), np.nan)
    known: dict[str, float] = {}
    for place, text in enumerate(texts):
        if text is None:
            continue
        if text not in known:
            known[text] = _value(text, kind, what, first_row + place, zone)
        values[place] = known[text]
    return values


def _value(text: str, kind: FieldType, what: str, row: int, zone: tzinfo | None) -> float:
    try:
        if kind is FieldType.NUMBER:
            return float(pa.scalar(text).cast(pa.float64()).as_py())
        return _BOOLEANS[text.lower()] if kind is FieldType.BOOLEAN else time_of(text, zone)
    except (KeyError, ValueError):  # ArrowInvalid and msgspec's are ValueErrors
        told = text if len(text) <= MAXIMUM_VALUE_CHARACTERS else f"{text[: MAXIMUM_VALUE_CHARACTERS - 2]} …"
        remedy = _WITHOUT_OFFSET if kind is FieldType.TIME and zone is None and _is_naive(text) else ""
        raise ConfigurationError(f"{what}, row {row:,}: {told!r} is not {_FORMS[kind]}{remedy}") from None


def time_of(text: str, zone: tzinfo | None = None) -> float:
    """Seconds since 1970 of an RFC 3339 time, or of seconds since 1970 as text.

    Args:
        zone: of a time without an offset.

    Raises:
        ValueError: it is neither.
    """
    try:
        return rfc3339_s(text)
    except ValueError:
        if zone is not None and _is_naive(text):
            return epoch_s(datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC))
        return float(pa.scalar(text).cast(pa.float64()).as_py())


def rfc3339_s(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time, to the microsecond.

    Raises:
        ValueError: it is none, or says nothing of its offset from UTC.
    """
    return epoch_s(msgspec.convert(text, Moment))


def _is_naive(text: str) -> bool:
    """Whether it is a date, or a time of day on one, without an offset; 20240131 is a number."""
    try:
        return "-" in text[1:] and datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False
