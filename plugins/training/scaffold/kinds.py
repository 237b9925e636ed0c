"""What the values of a column are: numbers, booleans, times or text, whatever they are written as."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from training.rows import missing

_TRUE, _FALSE = {"true", "t", "yes", "y"}, {"false", "f", "no", "n"}
_GONE = {"", "na", "n/a", "nan", "null", "none"}
_TIME_NAME = re.compile(r"(^|_)(time|timestamp|ts|epoch|date|at|on|when|created|updated)(_|$)", re.IGNORECASE)
# Seconds since 1970 of 1990 and 2100: numbers between them, in a column that is named so, are times.
_EPOCH = (631_152_000.0, 4_102_444_800.0)
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d")
_ISO, _EPOCH_S, _TRUE_FALSE = "ISO 8601", "seconds since 1970", "true or false"
_CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", ", %H:%M", " %I:%M %p")


Forms = Collection[str] | None
OF_TABLES: Forms = ("", _ISO)
"""How the values of a table's column may be written, to be read as what they are."""
OF_FILES: Forms = ("", _ISO, _EPOCH_S, _TRUE_FALSE)
"""The same of a CSV or Parquet file."""


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """A column as the encoder takes it.

    Attributes:
        name: of the field.
        column: of the table.
        written: how its times are written; empty for what is no time or comes as one.
    """

    name: str
    column: str
    kind: FieldType
    values: Column
    written: str = ""

    @property
    def gone(self) -> float:
        """The share of the rows in which it is missing."""
        found = missing(self.values)
        return float(found.mean()) if len(found) else 1.0

    @property
    def there(self) -> list[Any]:
        """The values that are not missing."""
        gone = missing(self.values)
        return [value for value, lacks in zip(list(self.values), gone.tolist(), strict=True) if not lacks]

    @property
    def different(self) -> int:
        """How many different values there are."""
        return len(set(self.there))


def typed(name: str, column: str, values: Sequence[Any], zone: tzinfo, *, forms: Forms = None) -> Typed:
    """The column with its type.

    Args:
        values: as a file or a database gives them; text is looked into.
        zone: of times that are written without an offset.
        forms: how values other than text may be written, where they are read as they stand; None: they will be stored
            anew, whatever they are written as.
    """
    cleaned = [None if _is_gone(value) else value for value in values]
    for guess in (_booleans, _moments, _numbers):
        found = guess(cleaned, name, zone)
        if found is not None and (forms is None or found[2] in forms):
            kind, floats, written = found
            return Typed(name=name, column=column, kind=kind, values=floats, written=written)
    words = [None if value is None else str(value).strip() for value in cleaned]
    return Typed(name=name, column=column, kind=FieldType.STRING, values=words)


_Guess = tuple[FieldType, Column, str] | None


def _is_gone(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _GONE
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


def _booleans(values: Sequence[Any], _name: str, _zone: tzinfo) -> _Guess:
    there = [value for value in values if value is not None]
    words = (
        {str(value).strip().lower() for value in there}
        if all(isinstance(each, str | bool) for each in there)
        else set()
    )
    if not words or not words <= _TRUE | _FALSE:
        return None
    found = _floats(values, lambda value: float(str(value).strip().lower() in _TRUE))
    if not any(isinstance(each, str) for each in there):
        return FieldType.BOOLEAN, found, ""
    return FieldType.BOOLEAN, found, _TRUE_FALSE if words <= {"true", "false"} else "words"


def _numbers(values: Sequence[Any], name: str, _zone: tzinfo) -> _Guess:
    there = [value for value in values if value is not None]
    if not there or not all(map(_is_number, there)):
        return None
    found = _floats(values, float)
    return _epochs(found, name) or (FieldType.NUMBER, np.where(np.isinf(found), np.nan, found), "")


def _epochs(found: Any, name: str) -> _Guess:
    there = found[np.isfinite(found)]
    for factor, written in ((1.0, _EPOCH_S), (1e3, "milliseconds since 1970")):
        if (
            _TIME_NAME.search(name)
            and len(there)
            and ((there >= _EPOCH[0] * factor) & (there < _EPOCH[1] * factor)).all()
        ):
            return FieldType.TIME, found / factor, written
    return None


def _is_number(value: Any) -> bool:
    """An id such as 00123 is none: as a number it would lose its zeros."""
    if isinstance(value, str):
        text = value.strip()
        return bool(re.fullmatch(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text))
    return isinstance(value, int | float | Decimal | np.number)


def _moments(values: Sequence[Any], _name: str, zone: tzinfo) -> _Guess:
    there = [value for value in values if value is not None]
    if not there:
        return None
    if all(isinstance(value, date) for value in there):
        return FieldType.TIME, _floats(values, lambda value: _seconds(value, zone)), ""
    if not all(isinstance(value, str) for value in there):
        return None
    for written, read in _readers():
        if _all_read(read, there):
            found = _floats(values, lambda value, read=read: _seconds(read(value.strip()), zone))  # type: ignore[misc]
            return FieldType.TIME, found, written
    return None


_Reader = Callable[[str], datetime]


def _readers() -> Iterable[tuple[str, _Reader]]:
    yield _ISO, _iso
    for day in _DATES:
        for clock in _CLOCKS:
            yield day + clock, lambda text, form=day + clock: datetime.strptime(text, form)  # type: ignore[misc]  # noqa: DTZ007


def _iso(text: str) -> datetime:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _all_read(read: _Reader, texts: Sequence[str]) -> bool:
    try:
        for text in texts:
            read(text.strip())
    except ValueError:
        return False
    return True


def _seconds(value: date, zone: tzinfo) -> float:
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return epoch_s((moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC))


def _floats(values: Sequence[Any], read: Callable[[Any], float]) -> Any:
    return np.array([np.nan if value is None else read(value) for value in values], dtype=np.float64)
