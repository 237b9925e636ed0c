"""Conversions between aware datetimes and numbers; nothing here reads a clock."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

# A datetime that a document must give with its offset; a naive one means another moment to every reader.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def epoch_s(moment: datetime) -> float:
    """Seconds since 1970-01-01T00:00Z, exact to the microsecond.

    Raises:
        ValueError: the datetime is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; Baton takes aware datetimes only")
    return (moment - EPOCH) / timedelta(seconds=1)


def epoch_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970-01-01T00:00Z, rounded down."""
    return ((moment - EPOCH) // _MICROSECOND) // 1000


def from_epoch_s(seconds: float) -> datetime:
    """The aware UTC datetime of a number of seconds since 1970."""
    return EPOCH + timedelta(seconds=seconds)


def from_epoch_ms(milliseconds: int) -> datetime:
    """The aware UTC datetime of a number of milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def rfc3339(moment: datetime) -> str:
    """UTC with a ``Z``, microseconds only when there are any."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; Baton takes aware datetimes only")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def length_text(seconds: float) -> str:
    """A length of time for people, to two units: ``850 ms``, ``3.2 s``, ``5 min 12 s``, ``12 d 3 h``."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    sign, left = "-" if seconds < 0 else "", round(abs(seconds))
    parts: list[str] = []
    for name, unit_s in _UNITS_S:
        if left >= unit_s or parts:
            parts.append(f"{left // unit_s} {name}")
            left %= unit_s
    return sign + " ".join(parts[:2])
