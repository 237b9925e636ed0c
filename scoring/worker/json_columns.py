"""Columns as JSON: lines of one token per record. Whole columns are written at once: nothing here loops over records in
Python, unless times are put together without the compiled library (``lines.c``).
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import msgspec
import numpy as np

from scoring.contract.encoder import Column, Floats
from scoring.contract.features import FieldType
from scoring.scorer.decode import EARLIEST_S, END_S
from scoring.scorer.library import load

Lines = bytes
"""A token and a line feed for each record; no token holds one."""
Writer = Callable[[Column], Lines]

_encode_lines = msgspec.json.Encoder().encode_lines
_NULL = b"null"
_BOOLEANS = {0.0: b"false", 1.0: b"true"}
_LONGEST_TIME = len(b'"9999-12-31T23:59:59.999999Z"\n')
_FIRST_DAY = date(1970, 1, 1)
_DAY_S = 86_400
# A year's worth and more of distinct days; event times can be anything, memory cannot.
_KEPT_DAYS = 10_000


def values(column: Column | Sequence[int] | Sequence[bool]) -> Lines:
    """Numbers, strings, true, false or None as they are; a number that is not finite is null."""
    return _encode_lines(column.tolist() if isinstance(column, np.ndarray) else column)


def numbers(column: Column) -> Lines:
    """Numbers, whole ones without a fraction, as a sender writes them."""
    return _encode_lines(np.asarray(column, dtype=np.float64).tolist()).replace(b".0\n", b"\n")


def booleans(column: Column) -> Lines:
    """True, false, or null where the value is missing."""
    return lines([_BOOLEANS.get(value, _NULL) for value in np.asarray(column, dtype=np.float64).tolist()])


def lines(tokens: Sequence[bytes]) -> Lines:
    """Tokens as lines."""
    return b"\n".join([*tokens, b""])


def writer(field_type: FieldType) -> Writer:
    """What writes a column of this type as its sender did."""
    match field_type:
        case FieldType.TIME:
            return times
        case FieldType.BOOLEAN:
            return booleans
        case FieldType.NUMBER:
            return numbers
        case FieldType.STRING:
            return values


def times(column: Column) -> Lines:
    """Seconds since 1970 as RFC 3339 in UTC, to the microsecond; null where the value is missing.

    Raises:
        ValueError: a year is not one from 1 to 9999; the decoder lets none through.
    """
    seconds = np.ascontiguousarray(column, np.float64)
    library = load()
    if library is not None:
        found = np.empty(_LONGEST_TIME * len(seconds), np.uint8)
        size = library.write_times(seconds.ctypes.data, len(seconds), found.ctypes.data)
        if size >= 0:
            return found[:size].tobytes()
    return lines(_times(seconds))  # which also says what is wrong with a year that there is not


def _times(seconds: Floats) -> list[bytes]:
    there = ~np.isnan(seconds)
    if not ((seconds >= EARLIEST_S) & (seconds < END_S))[there].all():
        raise ValueError("a time is beyond the years 1 to 9999")
    days, clocks, microseconds = _parts(np.where(there, seconds, 0.0))
    tokens = [_day(day) + _clock(clock) for day, clock in zip(days, clocks, strict=True)]
    if microseconds.any():
        for place in np.flatnonzero(microseconds).tolist():
            tokens[place] = b'%b.%06dZ"' % (tokens[place][:-2], microseconds[place])
    for place in np.flatnonzero(~there).tolist():
        tokens[place] = _NULL
    return tokens


def _parts(seconds: Floats) -> tuple[list[int], list[int], np.typing.NDArray[np.int64]]:
    """Days since 1970, seconds of the day, microseconds; rounded as ``datetime.timedelta`` does, half to even."""
    whole = np.trunc(seconds)
    microseconds = np.rint((seconds - whole) * 1e6).astype(np.int64)
    carried = np.floor_divide(microseconds, 1_000_000)
    days, clocks = np.divmod(whole.astype(np.int64) + carried, _DAY_S)
    return days.tolist(), clocks.tolist(), microseconds - carried * 1_000_000


class _Days(dict[int, bytes]):
    def __missing__(self, day: int) -> bytes:
        if len(self) >= _KEPT_DAYS:
            self.clear()
        text = self[day] = b'"%bT' % (_FIRST_DAY + timedelta(days=day)).isoformat().encode()
        return text


class _Clocks(dict[int, bytes]):
    def __missing__(self, second: int) -> bytes:
        minutes, seconds = divmod(second, 60)
        text = self[second] = b'%02d:%02d:%02dZ"' % (*divmod(minutes, 60), seconds)
        return text


_day, _clock = _Days().__getitem__, _Clocks().__getitem__
