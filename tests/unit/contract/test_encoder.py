"""The encoder against slow and obvious references; the result never depends on the other records of a batch."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.contract.clock import epoch_s, from_epoch_s
from scoring.contract.encoder import Column, Encoder
from scoring.contract.features import (
    Category,
    DayOfWeek,
    DayOfYear,
    Difference,
    Elapsed,
    Feature,
    FeatureSchema,
    Field,
    FieldType,
    HourOfDay,
    IsMissing,
    Log,
    MonthOfYear,
    Number,
    Ratio,
)

NAN = float("nan")
FIELDS = (
    Field(name="id", type=FieldType.STRING, required=True),
    Field(name="at", type=FieldType.TIME, required=True),
    Field(name="until", type=FieldType.TIME),
    Field(name="x", type=FieldType.NUMBER),
    Field(name="y", type=FieldType.NUMBER),
)


def encoder(*features: Feature) -> Encoder:
    return Encoder(FeatureSchema(key="id", event_time="at", fields=FIELDS, features=features))


def encode(feature: Feature, **columns: Sequence[float | str | None]) -> list[float]:
    made = {name: column(values) for name, values in columns.items()}
    rows = len(next(iter(made.values())))
    matrix = encoder(feature).encode(made, rows)
    assert matrix.shape == (rows, 1)
    assert matrix.dtype == np.float64
    assert matrix.flags.c_contiguous
    found: list[float] = matrix[:, 0].tolist()
    return found


def column(values: Sequence[float | str | None]) -> Column:
    if any(isinstance(value, str) or value is None for value in values):
        return [None if value is None else str(value) for value in values]
    return np.array(values, dtype=np.float64)


def same(found: Sequence[float], expected: Sequence[float]) -> None:
    """Equal bit for bit, with every NaN alike."""
    np.testing.assert_array_equal(np.array(found), np.array(expected), strict=True)


# --- numbers and words --------------------------------------------------------------------------------------------

NUMBERS = [0.0, -0.0, 1.5, -1.0, -0.9999999, -2.0, 1e308, 5e-324, NAN, math.inf, -math.inf]


def test_a_number_is_itself() -> None:
    found = encode(Number(name="f", of="x"), x=NUMBERS)
    same(found, NUMBERS)
    assert math.copysign(1.0, found[1]) == -1.0


def test_a_category_is_its_place_in_the_vocabulary() -> None:
    feature = Category(name="f", of="id", vocabulary=("b", "a", ""))
    same(encode(feature, id=["a", "b", "c", None, "", "A", "a "]), [1.0, 0.0, NAN, NAN, 2.0, NAN, NAN])


def test_without_a_vocabulary_every_category_is_missing() -> None:
    same(encode(Category(name="f", of="id"), id=["a", None]), [NAN, NAN])


def slow_ratio(of: float, by: float) -> float:
    return NAN if by == 0.0 or math.isnan(of) or math.isnan(by) else float(np.float64(of) / np.float64(by))


def slow_log(number: float) -> float:
    return NAN if math.isnan(number) or number <= -1.0 else float(np.log1p(number))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_ratio_difference_and_log_follow_their_definitions() -> None:
    pairs = [(a, b) for a in NUMBERS for b in NUMBERS]
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    same(encode(Ratio(name="f", of="x", by="y"), x=x, y=y), [slow_ratio(a, b) for a, b in pairs])
    same(encode(Difference(name="f", of="x", minus="y"), x=x, y=y), [a - b for a, b in pairs])
    same(encode(Log(name="f", of="x"), x=NUMBERS), [slow_log(number) for number in NUMBERS])


def test_a_ratio_by_zero_is_missing_even_of_zero() -> None:
    same(encode(Ratio(name="f", of="x", by="y"), x=[1.0, 0.0, -1.0], y=[0.0, 0.0, -0.0]), [NAN, NAN, NAN])


def test_missing_is_one_where_nothing_is() -> None:
    feature = IsMissing(name="f", of="x")
    same(encode(feature, x=[NAN, 0.0, math.inf]), [1.0, 0.0, 0.0])
    same(encode(IsMissing(name="f", of="id"), id=[None, "", "a"]), [1.0, 0.0, 0.0])


# --- times --------------------------------------------------------------------------------------------------------

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns")
Reference = Callable[[datetime], float]


def slow_hour(local: datetime) -> float:
    wall = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return wall / timedelta(hours=1)


REFERENCES: list[tuple[type[HourOfDay | DayOfWeek | DayOfYear | MonthOfYear], Reference]] = [
    (HourOfDay, slow_hour),
    (DayOfWeek, lambda local: float(local.weekday())),
    (DayOfYear, lambda local: float(local.timetuple().tm_yday)),
    (MonthOfYear, lambda local: float(local.month)),
]


def check_times(moments: Sequence[datetime], zone: str) -> None:
    seconds = [epoch_s(moment) for moment in moments]
    for kind, reference in REFERENCES:
        found = encode(kind(name="f", of="at", zone=zone), at=seconds)
        expected = [reference(from_epoch_s(second).astimezone(ZoneInfo(zone))) for second in seconds]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7, err_msg=f"{kind.__name__} in {zone}")


# Forwards and backwards, where clocks change by half an hour, and where they changed at one minute past the hour.
CHANGES = [
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("America/St_Johns", datetime(1987, 4, 5, 3, 31, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),
    ("Africa/Monrovia", datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
]


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_local_times_are_right_around_every_kind_of_clock_change(zone: str, change: datetime) -> None:
    steps = [timedelta(seconds=seconds) for seconds in range(-2_000, 2_000, 13)]
    near = [timedelta(microseconds=us) for us in (-1_000_000, -1, 0, 1, 1_000_000)]
    check_times([change + step for step in (*steps, *near)], zone)


def test_the_hour_that_comes_twice_is_encoded_twice_and_the_one_that_never_comes_not_at_all() -> None:
    feature = HourOfDay(name="f", of="at", zone="Europe/Berlin")
    back = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    forward = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    hours = [
        encode(feature, at=[epoch_s(start + timedelta(hours=step)) for step in range(3)]) for start in (back, forward)
    ]
    assert hours == [[2.5, 2.5, 3.5], [1.5, 3.5, 4.5]]


MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis


@settings(max_examples=60)
@given(st.lists(MOMENTS, min_size=1, max_size=20), st.sampled_from(ZONES))
def test_local_times_equal_those_of_the_standard_library(moments: list[datetime], zone: str) -> None:
    check_times([moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in moments], zone)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"])
def test_the_first_and_the_last_second_of_the_calendar_are_encoded_in_any_zone(zone: str) -> None:
    edges = [epoch_s(datetime(1, 1, 1, tzinfo=UTC)), epoch_s(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))]
    for kind, _ in REFERENCES:
        assert np.isfinite(encode(kind(name="f", of="at", zone=zone), at=edges)).all()


def test_a_missing_time_makes_missing_features() -> None:
    for kind, _ in REFERENCES:
        same(encode(kind(name="f", of="at", zone="Europe/Berlin"), at=[NAN, NAN]), [NAN, NAN])


def test_elapsed_is_in_seconds_and_missing_where_either_is() -> None:
    feature = Elapsed(name="f", of="until", since="at")
    same(encode(feature, until=[10.5, 1.0, NAN, 1.0], at=[0.5, 3.0, 1.0, NAN]), [10.0, -2.0, NAN, NAN])


# --- batches ------------------------------------------------------------------------------------------------------

EVERYTHING: tuple[Feature, ...] = (
    Number(name="number", of="x"),
    Category(name="category", of="id", vocabulary=("a", "b")),
    Ratio(name="ratio", of="x", by="y"),
    Difference(name="difference", of="x", minus="y"),
    Log(name="log", of="x"),
    IsMissing(name="missing", of="y"),
    Elapsed(name="elapsed", of="until", since="at"),
    *(kind(name=f"{kind.__name__}{zone}", of="at", zone=zone) for kind, _ in REFERENCES for zone in ZONES),
)
FLOATS = st.floats(width=64) | st.sampled_from(NUMBERS)
# The same interesting quarters of an hour come again and again, so that records share a step.
TIMES = st.one_of(
    st.floats(-6.2e10, 2.5e11),
    st.builds(lambda change, offset: epoch_s(change[1]) + offset, st.sampled_from(CHANGES), st.floats(-900, 900)),
    st.just(NAN),
)
RECORDS = st.tuples(st.sampled_from(["a", "b", "c", None]), TIMES, TIMES, FLOATS, FLOATS)


def matrix_of(made: Encoder, records: Sequence[tuple[str | None, float, float, float, float]]) -> np.ndarray:
    names, at, until, x, y = zip(*records, strict=True) if records else ((), (), (), (), ())
    columns: dict[str, Column] = {
        "id": list(names),
        **{name: np.array(values, dtype=np.float64) for name, values in (("at", at), ("until", until))},
        **{name: np.array(values, dtype=np.float64) for name, values in (("x", x), ("y", y))},
    }
    return made.encode(columns, len(records))


@settings(max_examples=40)
@given(st.lists(RECORDS, max_size=12), st.integers(1, 5))
def test_the_result_does_not_depend_on_the_size_of_the_batch(
    records: list[tuple[str | None, float, float, float, float]], size: int
) -> None:
    whole = matrix_of(encoder(*EVERYTHING), records)
    warm = encoder(*EVERYTHING)
    parts = [matrix_of(warm, records[start : start + size]) for start in range(0, len(records), size)]
    np.testing.assert_array_equal(whole, np.concatenate([np.empty((0, len(EVERYTHING))), *parts]))


def test_an_empty_batch_is_an_empty_matrix() -> None:
    assert matrix_of(encoder(*EVERYTHING), []).shape == (0, len(EVERYTHING))


def test_the_names_are_those_of_the_features_in_their_order() -> None:
    assert encoder(*EVERYTHING).names == tuple(feature.name for feature in EVERYTHING)
