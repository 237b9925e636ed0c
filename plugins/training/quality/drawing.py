"""The curve of quality by interval, and the page around it: one file without a network."""

import math
from collections.abc import Sequence
from datetime import timedelta
from html import escape
from pathlib import Path

from training.quality.intervals import Interval
from training.results import BaselineKind
from training.svg import Plot, ticks

_STYLE = Path(__file__).with_name("page.css")
_DATES = 6


def curve(model: str, metric: str, found: Sequence[Interval], width: int = 680, height: int = 300) -> str:
    """The SVG: each holdout's value with its interval, and the baseline's; empty where nothing was evaluated."""
    points = [(each, (_middle(each), each.value)) for each in found if each.value is not None]
    shown = [each for each, _ in points]
    if not shown:
        return ""
    begin, end = shown[0].start.timestamp(), shown[-1].end.timestamp()
    bounds = [v for each in shown for v in (each.value, each.low, each.high, each.baseline) if v is not None]
    margin = 0.08 * (max(bounds) - min(bounds) or 1.0)
    heights = (min(bounds) - margin, max(bounds) + margin)
    plot = Plot((begin, end), heights, f"{metric} of {model} by interval", width=width, height=height, top=20)
    for each in shown:
        if each.low is not None and each.high is not None:
            plot.bar(each.start.timestamp(), each.end.timestamp(), each.low, each.high, "range")
    for kind in BaselineKind:  # what follows another kind is no change of its own
        against = [each for each in shown if each.against == kind.value]
        plot.line([(_middle(each), each.baseline) for each in against if each.baseline is not None], "second")
    plot.line([point for _, point in points], "first")
    plot.dots([point for each, point in points if each.outcome == "accepted"], "first", 4)
    plot.dots([point for each, point in points if each.outcome != "accepted"], "bad", 4)
    months = all(each.end - each.start > timedelta(days=20) for each in shown)
    dates = [(_middle(each), f"{each.start:{'%b %Y' if months else '%b %d'}}") for each in shown]
    dates = dates[:: math.ceil(len(dates) / _DATES)]
    return plot.render(dates, [(value, f"{value:g}") for value in ticks(*plot.y)], metric)


def page(model: str, metric: str, found: Sequence[Interval]) -> str:
    """The curve and its numbers as HTML."""
    rows = "\n".join(_row(each) for each in found)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(model)}: quality by interval</title><style>{_STYLE.read_text(encoding="utf-8")}</style></head>
<body><main><h1>{escape(model)}: {escape(metric)} by interval</h1>
<p>Each candidate on the rows that were held out from it. The box is the range in which the value lies at the
definition's confidence, <b class="second">the other line</b> what it was held against on the same rows; a
<b class="bad">marked point</b> was refused.</p>
<figure>{curve(model, metric, found)}</figure>
<div class="wide"><table><thead><tr><th>held out</th><th>rows</th><th>{escape(metric)}</th>
<th>range</th><th>against</th><th>for</th><th>outcome</th></tr></thead><tbody>
{rows}
</tbody></table></div></main></body></html>
"""


def cells(each: Interval) -> tuple[str, ...]:
    """A row for people: held out, rows, value, range, baseline, purpose, outcome."""
    ranged = "" if each.low is None or each.high is None else f"{each.low:.4f} to {each.high:.4f}"
    against = "" if each.baseline is None else f"{each.against} {each.baseline:.4f}"
    value = "" if each.value is None else f"{each.value:.4f}"
    rows = "" if each.rows is None else f"{each.rows:,}"
    return (f"{each.start:%Y-%m-%d} to {each.end:%Y-%m-%d}", rows, value, ranged, against, each.purpose, each.outcome)


def _row(each: Interval) -> str:
    told = "".join(f"<td>{escape(text)}</td>" for text in cells(each))
    return f'<tr class="{"" if each.outcome == "accepted" else "bad"}" title="{escape(each.sentence)}">{told}</tr>'


def _middle(each: Interval) -> float:
    return (each.start.timestamp() + each.end.timestamp()) / 2
