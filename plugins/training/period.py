"""Lengths of calendar time: a month is what the calendar says, in UTC."""

import re
from calendar import monthrange
from datetime import datetime, timedelta

import msgspec

WRITTEN = r"[1-9][0-9]{0,3} (day|days|month|months)"


class Period(msgspec.Struct, frozen=True):
    """A number of calendar months and days."""

    months: int = 0
    days: int = 0

    def before(self, moment: datetime) -> datetime:
        """The moment that lies this period before ``moment``; a day that the month lacks becomes its last."""
        year, month = divmod(moment.year * 12 + moment.month - 1 - self.months, 12)
        day = min(moment.day, monthrange(year, month + 1)[1])
        return moment.replace(year=year, month=month + 1, day=day) - timedelta(days=self.days)

    def __bool__(self) -> bool:
        return self.months > 0 or self.days > 0


def months(count: int) -> Period:
    """``count`` calendar months."""
    return Period(months=count)


def days(count: int) -> Period:
    """``count`` days of 24 hours."""
    return Period(days=count)


def period_of(text: str) -> Period:
    """A period as people write it: ``6 months``, ``30 days``.

    Raises:
        ValueError: it is something else.
    """
    if not re.fullmatch(WRITTEN, text):
        raise ValueError(f"{text!r} is not a length of time such as 6 months or 30 days")
    count, _, unit = text.partition(" ")
    return months(int(count)) if unit.startswith("month") else days(int(count))
