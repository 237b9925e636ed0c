import re
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

import msgspec
import pytest

from local.demo.report import render
from local.demo.summary import (
    Comparison,
    Facts,
    Moments,
    Refusal,
    Summary,
    Swap,
    Version,
    VersionQuality,
)
from training.svg import Plot, ticks

START_S = 1_700_000_000


@pytest.fixture
def summary() -> Summary:
    return Summary(
        records_in=57_148,
        predictions=57_136,
        dead_letters=12,
        lost=0,
        duplicated=0,
        versions=(
            Version(version="1", sequence=1, records=49_119),
            Version(version="2", sequence=2, records=8_017),
        ),
        swap=Swap(sequence=2, pause_ms=23, notice_to_live_ms=1830),
        refused=(Refusal(gate="data", reason='carrier is "" in <6,517> rows'),),
        quality={
            "1": VersionQuality(records=49_119, auc=0.655, base_rate=0.26),
            "2": VersionQuality(records=8_017, auc=None, base_rate=None),
        },
        records_per_s=460.9,
    )


@pytest.fixture
def facts() -> Facts:
    days = [date(2013, 4, 1) + timedelta(days=n) for n in range(61)]
    return Facts(
        model="flight_delay",
        made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        moments=Moments(
            first_ms=START_S * 1000,
            retrain_ms=(START_S + 2) * 1000,
            damaged_ms=(START_S + 7) * 1000,
            malformed_ms=(START_S + 9) * 1000,
            notice_ms=(START_S + 4) * 1000,
            swap_ms=(START_S + 5) * 1000,
        ),
        around_ms=5000,
        handover_gap_ms=9,
        typical_pause_ms=12.0,
        per_second={(START_S + n, 1 if n < 5 else 2): 300 for n in range(10)} | {(START_S + 9, 0): 12},
        daily=dict.fromkeys(days, 0.66),
        daily_first=dict.fromkeys(days, 0.65),
        swapped_on=date(2013, 5, 16),
        comparison=Comparison(records=7_697, new_auc=0.718, old_auc=0.692),
        dead_letters=(("cut off in the middle", "malformed-json"),),
        recomputed=57_136,
        phases=(("The stack starts", 12.0),),
    )


def test_the_summary_has_exactly_the_fields_that_are_promised(summary: Summary) -> None:
    document = msgspec.json.decode(summary.encode())
    assert set(document) == {
        "records_in",
        "predictions",
        "dead_letters",
        "lost",
        "duplicated",
        "versions",
        "swap",
        "refused",
        "quality",
        "records_per_s",
    }
    assert document["versions"][0] == {"version": "1", "sequence": 1, "records": 49_119}
    assert document["swap"] == {"sequence": 2, "pause_ms": 23, "notice_to_live_ms": 1830}
    assert document["refused"][0].keys() == {"gate", "reason"}
    assert document["quality"]["1"].keys() == {"records", "auc", "base_rate"}


def test_the_page_stands_alone(summary: Summary, facts: Facts) -> None:
    page = render(summary, facts)
    assert not re.search(r"""(src|href)\s*=|@import|url\(|https?:|<script""", page)
    assert "$" not in page


def test_the_page_is_well_formed(summary: Summary, facts: Facts) -> None:
    page = render(summary, facts)
    opened: list[str] = []
    for closing, tag, empty in re.findall(r"<(/?)([a-z0-9]+)[^>]*?(/?)>", page):
        if closing:
            assert opened.pop() == tag
        elif not empty and tag != "meta":
            opened.append(tag)
    assert opened == []
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(svg)  # noqa: S314 - our own text


def test_what_came_from_outside_is_escaped(summary: Summary, facts: Facts) -> None:
    assert "&lt;6,517&gt;" in render(summary, facts)


def test_the_swap_and_the_versions_are_in_the_picture(summary: Summary, facts: Facts) -> None:
    page = render(summary, facts)
    assert "swap, longest gap 23 ms" in page
    assert page.count('<rect class="first"') == page.count('<rect class="second"') == 5
    assert "nothing lost, nothing doubled" in page


def test_a_stream_that_is_not_whole_is_called_so(summary: Summary, facts: Facts) -> None:
    assert "not whole" in render(msgspec.structs.replace(summary, lost=1), facts)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 2000, [0, 500, 1000, 1500, 2000]), (0.47, 0.81, [0.5, 0.6, 0.7, 0.8]), (3, 3, [3])],
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 5) == pytest.approx(expected)


def test_a_plot_puts_its_corners_where_its_axes_are() -> None:
    plot = Plot((0, 10), (0, 1), "corners", width=100, height=100, left=10, right=10, top=10, bottom=10)
    plot.line([(0, 0), (10, 1)], "first")
    assert 'points="10.0,90.0 90.0,10.0"' in plot.render([], [], "y")
