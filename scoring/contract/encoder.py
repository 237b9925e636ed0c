"""The one encoder: columns in, float matrix out. Training and scoring both call it, so that they cannot differ."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from itertools import repeat
from math import isnan
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from scoring.contract.clock import epoch_s, from_epoch_s
from scoring.contract.features import (
    Category,
    DayOfWeek,
    DayOfYear,
    Difference,
    Elapsed,
    Feature,
    FeatureSchema,
    HourOfDay,
    IsMissing,
    Log,
    MonthOfYear,
    Number,
    Ratio,
)

Floats = npt.NDArray[np.float64]
Column = Floats | Sequence[str | None]
Columns = Mapping[str, Column]

_DAY_S = 86_400.0
_ZONE_STEP_S = 900.0
# Where the offset changes within a step (Newfoundland's did at one minute past the hour): ask for each time by itself.
_CHANGES = float("inf")
# A local time beyond the years 1 and 9999 has no date: at these edges of the calendar the offset is that of a day off.
_EARLIEST_S = epoch_s(datetime(1, 1, 2, tzinfo=UTC))
_LATEST_S = epoch_s(datetime(9999, 12, 31, tzinfo=UTC))


class Encoder:
    """Runs a feature schema over columns."""

    def __init__(self, schema: FeatureSchema) -> None:
        local = cache(_LocalTime)  # one for each zone, shared by the features
        self._steps = tuple(_compile(feature, local) for feature in schema.features)
        self.names = tuple(feature.name for feature in schema.features)

    def encode(self, columns: Columns, rows: int) -> Floats:
        """The float matrix of shape (rows, features), C-contiguous float64, missing values as NaN.

        Args:
            columns: by name, each of length ``rows``: float64 for numbers, booleans and times (seconds since 1970),
                a sequence of str or None for strings.
        """
        matrix = np.empty((rows, len(self._steps)), dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for index, step in enumerate(self._steps):
                matrix[:, index] = step(columns)
        return matrix


Step = Callable[[Columns], Floats]


def _compile(feature: Feature, local: Callable[[str], "_LocalTime"]) -> Step:
    match feature:
        case Number(of=of):
            return partial(_floats, of)
        case Category(of=of, vocabulary=vocabulary):
            return partial(_category, of, {word: float(index) for index, word in enumerate(vocabulary)})
        case HourOfDay(of=of, zone=zone):
            return partial(_hour_of_day, of, local(zone))
        case DayOfWeek(of=of, zone=zone):
            return partial(_day_of_week, of, local(zone))
        case DayOfYear(of=of, zone=zone):
            return partial(_day_of_year, of, local(zone))
        case MonthOfYear(of=of, zone=zone):
            return partial(_month_of_year, of, local(zone))
        case Elapsed(of=of, since=other) | Difference(of=of, minus=other):
            return partial(_difference, of, other)
        case Ratio(of=of, by=other):
            return partial(_ratio, of, other)
        case Log(of=of):
            return partial(_log, of)
        case IsMissing(of=of):
            return partial(_is_missing, of)


def _floats(name: str, columns: Columns) -> Floats:
    return np.ascontiguousarray(columns[name], dtype=np.float64)


def _category(name: str, codes: dict[str, float], columns: Columns) -> Floats:
    column, missing = columns[name], float("nan")
    return np.fromiter(map(codes.get, column, repeat(missing)), np.float64, len(column))


def _difference(of: str, minus: str, columns: Columns) -> Floats:
    return _floats(of, columns) - _floats(minus, columns)


def _ratio(of: str, by: str, columns: Columns) -> Floats:
    divisor = _floats(by, columns)
    return np.where(divisor == 0.0, np.nan, _floats(of, columns) / divisor)


def _log(of: str, columns: Columns) -> Floats:
    number = _floats(of, columns)
    return np.where(number > -1.0, np.log1p(number), np.nan)


def _is_missing(of: str, columns: Columns) -> Floats:
    column = columns[of]
    if isinstance(column, np.ndarray) and column.dtype == np.float64:
        return np.isnan(column).astype(np.float64)
    return np.fromiter((word is None for word in column), np.float64, len(column))


class _LocalTime:
    """Turns seconds since 1970 into local seconds; asks the time zone per distinct quarter of an hour, not per time."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._offsets: dict[float, float] = {}

    def __call__(self, times: Floats) -> Floats:
        steps = np.floor(times / _ZONE_STEP_S)
        distinct, places = np.unique(steps, return_inverse=True)
        offsets = np.array([self._offset_of_step(step) for step in distinct.tolist()], dtype=np.float64)[places]
        for place in np.flatnonzero(offsets == _CHANGES).tolist():
            offsets[place] = self._offset(float(times[place]))
        return times + offsets

    def _offset_of_step(self, step: float) -> float:
        if isnan(step):
            return step
        offset = self._offsets.get(step)
        if offset is None:
            if len(self._offsets) >= 100_000:  # bounded, whatever the event times are
                self._offsets.clear()
            first, last = self._offset(step * _ZONE_STEP_S), self._offset((step + 1) * _ZONE_STEP_S - 0.001)
            offset = self._offsets[step] = first if first == last else _CHANGES
        return offset

    def _offset(self, seconds: float) -> float:
        moment = from_epoch_s(min(max(seconds, _EARLIEST_S), _LATEST_S)).astimezone(self._zone)
        offset = moment.utcoffset()
        return offset.total_seconds() if offset is not None else 0.0


def _hour_of_day(name: str, local: _LocalTime, columns: Columns) -> Floats:
    seconds = local(_floats(name, columns))
    return (seconds - np.floor(seconds / _DAY_S) * _DAY_S) / 3600.0


def _day_of_week(name: str, local: _LocalTime, columns: Columns) -> Floats:
    days = np.floor(local(_floats(name, columns)) / _DAY_S)
    return np.mod(days + 3.0, 7.0)  # 1970-01-01 was a Thursday


def _day_of_year(name: str, local: _LocalTime, columns: Columns) -> Floats:
    days, missing = _dates(local(_floats(name, columns)))
    first = days.astype("datetime64[Y]").astype("datetime64[D]")
    return np.where(missing, np.nan, (days - first).astype(np.float64) + 1.0)


def _month_of_year(name: str, local: _LocalTime, columns: Columns) -> Floats:
    days, missing = _dates(local(_floats(name, columns)))
    months = days.astype("datetime64[M]").astype(np.int64)
    return np.where(missing, np.nan, np.mod(months, 12).astype(np.float64) + 1.0)


def _dates(local_s: Floats) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.bool_]]:
    missing = np.isnan(local_s)
    days = np.where(missing, 0.0, np.floor(local_s / _DAY_S)).astype(np.int64)
    return days.astype("datetime64[D]"), missing
