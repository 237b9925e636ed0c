"""Predictions are woven from columns: by the compiled library exactly as without it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoring.scorer import library
from scoring.scorer.decode import EARLIEST_S, END_S
from scoring.worker import json_columns, weave
from scoring.worker.weave import Pattern
from tests.support.kernels import needs_library


@pytest.fixture(params=["compiled", "not compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the library and without it."""
    if request.param == "compiled" and library.load() is None:
        pytest.skip("there is no C compiler on this machine")
    if request.param == "not compiled":
        for module in (json_columns, weave):
            monkeypatch.setattr(module, "load", lambda: None)
    return str(request.param)


def pattern(*columns: bytes) -> Pattern:
    made = Pattern(b"<")
    for column in columns:
        made.column(column)
        made.text(b"\0|")
        made.text(b"\n>")
    return made


@pytest.mark.usefixtures("way")
def test_text_and_columns_in_turn() -> None:
    assert pattern(b"1\n22\n\n", b"a\nb\nc\n").woven(3) == [
        b"<1\0|\n>a\0|\n>",
        b"<22\0|\n>b\0|\n>",
        b"<\0|\n>c\0|\n>",
    ]
    assert pattern().woven(2) == [b"<", b"<"]
    assert pattern(b"").woven(0) == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("column", [b"", b"1\n", b"1\n2\n3\n", b"1\n2", b"1\n2\n3"])
def test_a_column_of_another_length_is_an_error(column: bytes) -> None:
    with pytest.raises(ValueError, match="2 records, but columns of"):
        pattern(b"1\n2\n", column).woven(2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (-0.0, "1970-01-01T00:00:00Z"),
        (-1.0, "1969-12-31T23:59:59Z"),
        (-0.25, "1969-12-31T23:59:59.750000Z"),
        (0.9999999, "1970-01-01T00:00:01Z"),
        (-0.0000001, "1970-01-01T00:00:00Z"),
        (0.0000005, "1970-01-01T00:00:00Z"),
        (0.0000015, "1970-01-01T00:00:00.000002Z"),
        (951_782_400.0, "2000-02-29T00:00:00Z"),
        (-2_203_891_200.0, "1900-03-01T00:00:00Z"),
        (EARLIEST_S, "0001-01-01T00:00:00Z"),
        (END_S - 1.0, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_written_to_the_microsecond(seconds: float, text: str) -> None:
    assert json_columns.times(np.array([seconds, np.nan])) == b'"%b"\nnull\n' % text.encode()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seconds", [END_S + 86_400.0, 1e300, EARLIEST_S - 86_400.0])
def test_a_year_that_there_is_not_is_an_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="beyond the years"):
        json_columns.times(np.array([0.0, seconds]))


@needs_library
@given(st.lists(st.one_of(st.just(np.nan), st.floats(EARLIEST_S, END_S - 1.0)), max_size=40))
@example([-62135596800.0, 253402300799.0 - 1e-6, 0.5, -0.5, 1e-7, 86_399.9999996])
def test_times_are_the_same_with_the_library_and_without(seconds: list[float]) -> None:
    column = np.array(seconds)
    assert json_columns.times(column) == json_columns.lines(json_columns._times(column))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))  # noqa: DTZ001  as hypothesis asks for
def test_a_time_is_the_one_that_was_sent(moment: datetime) -> None:
    there = moment.replace(tzinfo=UTC)
    (text, nothing) = json_columns.times(np.array([there.timestamp()])).split(b"\n")
    read = datetime.fromisoformat(text.decode().strip('"'))
    assert abs(read - there) <= timedelta(microseconds=64)  # what float64 can tell of the year 9999
    assert nothing == b""
