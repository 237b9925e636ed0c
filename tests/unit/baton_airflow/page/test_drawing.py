"""Pictures and words: what they say, and that nothing in them can pretend to be more than text."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from baton_airflow.page import words
from baton_airflow.page.gauge import gauge
from scoring.contract.verdict import Judgement, Verdict

# Our own pictures: nobody else's XML is read.
parsed = ET.fromstring
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def verdict(value: float | None, limit: float | None, gate: str = "quality") -> Verdict:
    return Verdict(gate=gate, judgement=Judgement.PASS, sentence="s", value=value, limit=limit)


@pytest.mark.parametrize(("value", "limit"), [(0.67, 0.6), (0.0, 0.0), (-3.0, 2.0), (10.4, 14.0), (1e9, 1.0)])
def test_a_gauge_holds_the_bar_and_the_limit_within_its_box(value: float, limit: float) -> None:
    drawn = parsed(gauge(verdict(value, limit)))
    bars, line = drawn.findall("rect"), drawn.find("line")
    assert line is not None
    assert 0 <= float(line.attrib["x1"]) <= 120
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) <= 122 for bar in bars)


@pytest.mark.parametrize(("value", "limit"), [(None, 1.0), (1.0, None), (float("nan"), 1.0), (1.0, float("inf"))])
def test_without_both_numbers_there_is_no_gauge(value: float | None, limit: float | None) -> None:
    assert gauge(verdict(value, limit)) == ""


def test_names_in_a_picture_are_text() -> None:
    drawn = gauge(verdict(1.0, 2.0, gate='"><script>alert(1)</script>'))
    assert "<script>" not in drawn
    assert parsed(drawn).attrib["role"] == "img"


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5), "5 hours ago"),
        (timedelta(days=3, hours=9), "3 days ago"),
    ],
)
def test_ages_are_told_in_the_largest_unit(passed: timedelta, text: str) -> None:
    assert words.ago(NOW - passed, NOW) == text


@pytest.mark.parametrize(
    ("length_s", "text"),
    [(None, words.DASH), (0.0002, "0.2 ms"), (0.0041, "4.1 ms"), (1.5, "1.5 s"), (75.0, "75 s")],
)
def test_short_times_are_told_in_the_unit_that_fits(length_s: float | None, text: str) -> None:
    assert words.seconds(length_s) == text


def test_the_text_of_a_question_cannot_be_more_than_text_and_tables() -> None:
    made = words.markdown(
        "| a | b |\n| --- | --- |\n| <img src=x> | [x](javascript:alert(1)) |\n\n<script>x</script> ![](y)"
    )
    assert "<table>" in made
    assert all(tag not in made for tag in ("<img", "<script", "<a "))
