"""Small pictures as SVG text: a gate's number against its limit, and the quality of one candidate after another."""

from collections.abc import Sequence
from html import escape

import msgspec

from scoring.contract.verdict import Judgement, Verdict
from training.svg import Plot, ticks

_WIDTH, _HEIGHT = 120, 18


class Quality(msgspec.Struct, frozen=True):
    """One run's measurement.

    Attributes:
        baseline: of the champion, or of the trivial baseline, on the same rows.
    """

    value: float
    baseline: float | None
    refused: bool


def gauge(verdict: Verdict) -> str:
    """A bar as long as the number, and a mark at the limit; empty where a number or the limit is missing."""
    value, limit = verdict.value, verdict.limit
    if value is None or limit is None or not abs(value) < float("inf") or not abs(limit) < float("inf"):
        return ""
    low, high = min(0.0, value, limit), max(0.0, value, limit)
    span = (high - low or 1.0) * 1.1

    def at(number: float) -> float:
        return (number - low) / span * _WIDTH

    css = "good" if verdict.judgement is Judgement.PASS else "bad"
    label = escape(f"{verdict.gate}: {value:.4g}, limit {limit:.4g}")
    left, right = sorted((at(0.0), at(value)))
    return (
        f'<svg class="gauge" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f'<rect class="track" x="0" y="6" width="{_WIDTH}" height="6" rx="3"/>'
        f'<rect class="{css}" x="{left:.1f}" y="6" width="{max(right - left, 2.0):.1f}" height="6" rx="3"/>'
        f'<line class="limit" x1="{at(limit):.1f}" x2="{at(limit):.1f}" y1="1" y2="17"/></svg>'
    )


def quality(metric: str, runs: Sequence[Quality]) -> str:
    """The metric of each run, oldest first, beside what it was held against; empty with fewer than two."""
    if len(runs) < 2:
        return ""
    numbers = [run.value for run in runs] + [run.baseline for run in runs if run.baseline is not None]
    low, high = min(numbers), max(numbers)
    margin = (high - low or abs(high) or 1.0) * 0.15
    plot = Plot(
        x=(0.5, len(runs) + 0.5),
        y=(low - margin, high + margin),
        label=f"{metric} of the last {len(runs)} candidates, oldest first, beside what each was held against",
        width=460,
        height=180,
        top=24,
        bottom=28,
        left=60,
    )
    places = list(enumerate(runs, start=1))
    plot.line([(x, run.baseline) for x, run in places if run.baseline is not None], "second")
    plot.dots([(x, run.baseline) for x, run in places if run.baseline is not None], "second", 2.5)
    plot.dots([(x, run.value) for x, run in places if not run.refused], "first", 5)
    plot.dots([(x, run.value) for x, run in places if run.refused], "refused", 5)
    steps = ticks(low - margin, high + margin, 4)
    return plot.render([(x, str(x)) for x, _ in places], [(step, f"{step:g}") for step in steps], metric)
