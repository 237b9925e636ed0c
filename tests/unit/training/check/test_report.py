"""The answer as lines for a terminal and as a page that stands alone."""

import re
from datetime import UTC, datetime

import pytest

from scoring.contract.verdict import Judgement, Verdict
from training.check.findings import Checked, Drawn, Finding, Judged, Level, Sampled, Section
from training.check.report import render
from training.check.telling import lines, summary
from training.results import BaselineKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEAK = Finding(
    section=Section.DATA,
    level=Level.ERROR,
    about="<b>scans</b>",
    sentence="feature '<b>scans</b>' looks like a leak",
    remedy="take it out",
    file="models/parcel.py",
    line=12,
)
SKEW = Finding(section=Section.SPLIT, level=Level.WARNING, sentence="'km' moved")


def checked(*findings: Finding, drawn: Drawn | None = None) -> Checked:
    judged = Judged(
        verdicts=(
            Verdict(gate="data", judgement=Judgement.PASS, sentence="all hold"),
            Verdict(gate="leakage", judgement=Judgement.FAIL, sentence="it leaks"),
        ),
        metrics={"auc": 0.91},
        baseline={"auc": 0.5},
        baseline_kind=BaselineKind.TRIVIAL,
        power={"<b>scans</b>": 0.99, "km": 0.6},
        power_measure="auc",
        single_feature=0.85,
        bundle_bytes=12_345,
    )
    sample = Sampled(
        rows=50_000,
        sampled=10_000,
        every=5,
        start=NOW.replace(year=2025),
        end=NOW,
        holdout_start=NOW.replace(year=2025, month=12),
        training_rows=8_000,
        holdout_rows=1_500,
    )
    return Checked(
        model="parcel",
        file="models/parcel.py",
        task="binary",
        findings=findings,
        steps={"pull": 1.25},
        sample=sample,
        judged=judged,
        drawn=drawn,
    )


def test_the_terminal_says_section_by_section_what_was_found_where_and_what_to_do() -> None:
    text = "\n".join(lines(checked(LEAK, SKEW)))
    assert "looked at one in 5 (10,000)" in text
    assert "auc 0.91 (trivial baseline 0.5)" in text
    assert "✓ data  ✗ leakage" in text
    assert "      at models/parcel.py:12\n      → take it out" in text
    assert text.index("Data") < text.index("Training and holdout") < text.index("Gates")
    assert text.endswith("parcel: 1 mistake to mend, 1 warning (1.2 s)")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ((), "fine"),
        ((SKEW,), "fine, with 1 warning to look at"),
        ((LEAK, LEAK), "2 mistakes to mend"),
    ],
)
def test_the_summary_is_one_sentence_and_warnings_are_fine(findings: tuple[Finding, ...], expected: str) -> None:
    assert summary(checked(*findings)) == expected
    assert checked(*findings).fine is (LEAK not in findings)


CURVES = [
    Drawn(
        roc={"the model": ((0.0, 0.0), (0.2, 0.8), (1.0, 1.0))}, score_edges=(0.0, 0.5, 1.0), scores={"no": (0.7, 0.3)}
    ),
    Drawn(
        actual=((1.0, 1.5), (2.0, 1.8)), score_edges=(1.0, 1.5, 2.0), scores={"came": (0.5, 0.5), "predicted": (1, 0)}
    ),
    Drawn(),
    None,
]


@pytest.mark.parametrize("drawn", CURVES)
def test_the_page_stands_alone_and_shows_nothing_that_was_not_escaped(drawn: Drawn | None) -> None:
    page = render(checked(LEAK, SKEW, drawn=drawn), NOW)
    assert "<script" not in page
    assert not re.search(r"(src|href|url\()", page)
    assert "<b>scans" not in page
    assert "&lt;b&gt;scans" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "$" not in page
    assert page.count("<svg") == (0 if drawn is None else len(drawn.roc) + bool(drawn.actual) + bool(drawn.scores))


def test_every_picture_says_what_it_shows_to_people_who_cannot_see_it() -> None:
    page = render(checked(drawn=CURVES[0]), NOW)
    assert page.count("<svg") == page.count('role="img" aria-label="')


def test_what_never_came_to_the_data_has_a_page_too() -> None:
    page = render(Checked(model="parcel", file="models/parcel.py", findings=(LEAK,)), NOW)
    assert "it did not come to the data" in page
