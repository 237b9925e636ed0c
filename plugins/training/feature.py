"""The features of a model: one function per transform of the contract, each with a name that it gives itself.

The first argument is a field, or a looked-up value as ``lookup.field``. A feature is named after what it reads
(``hour_of_day("departure")`` is ``departure_hour_of_day``) unless ``name`` says otherwise.
"""

from scoring.contract import features


def number(of: str, *, name: str | None = None) -> features.Number:
    """The number itself; missing is NaN."""
    return features.Number(name=name or of, of=of)


def category(of: str, *, name: str | None = None) -> features.Category:
    """The index of a string in the vocabulary, which is taken from the training rows; unknown is missing."""
    return features.Category(name=name or of, of=of)


def hour_of_day(of: str, *, zone: str = "UTC", name: str | None = None) -> features.HourOfDay:
    """Hours since local midnight with their fraction."""
    return features.HourOfDay(name=name or f"{of}_hour_of_day", of=of, zone=zone)


def day_of_week(of: str, *, zone: str = "UTC", name: str | None = None) -> features.DayOfWeek:
    """Local day of the week, Monday 0 to Sunday 6."""
    return features.DayOfWeek(name=name or f"{of}_day_of_week", of=of, zone=zone)


def day_of_year(of: str, *, zone: str = "UTC", name: str | None = None) -> features.DayOfYear:
    """Local day of the year, 1 to 366."""
    return features.DayOfYear(name=name or f"{of}_day_of_year", of=of, zone=zone)


def month_of_year(of: str, *, zone: str = "UTC", name: str | None = None) -> features.MonthOfYear:
    """Local month, 1 to 12."""
    return features.MonthOfYear(name=name or f"{of}_month_of_year", of=of, zone=zone)


def elapsed(of: str, *, since: str, name: str | None = None) -> features.Elapsed:
    """Seconds from the time ``since`` to the time ``of``."""
    return features.Elapsed(name=name or f"{of}_since_{since}", of=of, since=since)


def ratio(of: str, *, by: str, name: str | None = None) -> features.Ratio:
    """``of`` divided by ``by``."""
    return features.Ratio(name=name or f"{of}_by_{by}", of=of, by=by)


def difference(of: str, *, minus: str, name: str | None = None) -> features.Difference:
    """``of`` minus ``minus``."""
    return features.Difference(name=name or f"{of}_minus_{minus}", of=of, minus=minus)


def log(of: str, *, name: str | None = None) -> features.Log:
    """Natural logarithm of 1 + the number."""
    return features.Log(name=name or f"log_{of}", of=of)


def is_missing(of: str, *, name: str | None = None) -> features.IsMissing:
    """1 where the value is missing, else 0."""
    return features.IsMissing(name=name or f"{of}_is_missing", of=of)
