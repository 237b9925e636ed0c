"""The answer of a check as a page that stands alone: no script, no network, light and dark, from 390 pixels on.

The page's text stands in ``page.html``; this module fills in what was found and draws.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from training.check.findings import Checked, Drawn, Finding, Judged, Section
from training.check.telling import summary
from training.svg import Plot, ticks

_FOLDER = Path(__file__).parent
_SIDE = 420
_FEATURES = 25


def render(checked: Checked, made_at: datetime) -> str:
    """The page."""
    template = Template((_FOLDER / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        model=escape(checked.model),
        summary=escape(summary(checked)),
        file=escape(checked.file),
        sample=_sample(checked),
        made_at=f"{made_at:%Y-%m-%d %H:%M}",
        tiles=_tiles(checked),
        findings="\n".join(_findings(checked)),
        plots="\n".join(_plots(checked)),
        gates="" if checked.judged is None else _gates(checked.judged),
        steps=escape(", ".join(f"{name} {seconds:.1f} s" for name, seconds in checked.steps.items())),
    )


def _sample(checked: Checked) -> str:
    sample = checked.sample
    if sample is None:
        return "nothing yet: it did not come to the data"
    return (
        f"{sample.sampled:,} of {sample.rows:,} rows of {sample.start:%Y-%m-%d} to {sample.end:%Y-%m-%d}, the holdout "
        f"from {sample.holdout_start:%Y-%m-%d} on"
    )


def _tiles(checked: Checked) -> str:
    judged, sample = checked.judged, checked.sample
    numbers = [] if judged is None else [(f"{value:.4g}", name) for name, value in judged.metrics.items()]
    if sample is not None and sample.training_rows is not None:
        rows = (f"{sample.training_rows:,}", "rows to train on"), (f"{sample.holdout_rows or 0:,}", "rows held out")
        numbers = [*rows, *numbers]
    boxes = "".join(f"<div><b>{escape(number)}</b><span>{escape(name)}</span></div>" for number, name in numbers)
    return f'<div class="tiles">{boxes}</div>' if boxes else ""


def _findings(checked: Checked) -> Iterator[str]:
    yield "<h2>What was found</h2>"
    if not checked.findings:
        yield "<p>Nothing that had to be mended or looked at.</p>"
    for section in Section:
        found = [finding for finding in checked.findings if finding.section is section]
        if found:
            yield f"<h3>{escape(section.value.capitalize())}</h3>"
            yield f'<ul class="found">{"".join(map(_finding, found))}</ul>'


def _finding(finding: Finding) -> str:
    place = f'<br><span class="soft">at <code>{escape(finding.place)}</code></span>' if finding.place else ""
    remedy = f"<br>To do: {escape(finding.remedy)}" if finding.remedy else ""
    return f'<li class="{finding.level}"><b>{finding.level}</b>: {escape(finding.sentence)}{place}{remedy}</li>'


def _plots(checked: Checked) -> Iterator[str]:
    drawn, judged = checked.drawn, checked.judged
    if drawn is not None and drawn.roc:
        yield from _roc(drawn)
    if drawn is not None and drawn.actual:
        yield from _actual(drawn)
    if drawn is not None and drawn.scores:
        yield from _scores(drawn)
    if judged is not None and judged.power:
        yield from _power(judged)


def _roc(drawn: Drawn) -> Iterator[str]:
    yield "<h2>How well the scores tell the outcomes apart</h2>"
    yield (
        "<p>The higher the curve, the more of the cases it finds for the same number of false alarms; the diagonal is "
        "guessing.</p>"
    )
    for name, points in drawn.roc.items():
        plot = _square((0.0, 1.0), (0.0, 1.0), f"ROC curve of {name}")
        plot.line([(0.0, 0.0), (1.0, 1.0)], "faint")
        plot.line(points, "first")
        yield _figure(plot, [0.0, 0.5, 1.0], [0.0, 0.5, 1.0], f"found, {name}", "share of false alarms")


def _actual(drawn: Drawn) -> Iterator[str]:
    low, high = drawn.score_edges[0], drawn.score_edges[-1]
    plot = _square((low, high), (low, high), "What was predicted by what came")
    plot.line([(low, low), (high, high)], "faint")
    plot.dots(drawn.actual, "first")
    yield "<h2>What was predicted, and what came</h2><p>On the diagonal the model was right.</p>"
    marks = ticks(low, high, 4)
    yield _figure(plot, marks, marks, "predicted", "what came")


def _scores(drawn: Drawn) -> Iterator[str]:
    yield "<h2>How the scores are distributed</h2>"
    names, edges = list(drawn.scores), drawn.score_edges
    keys = zip(("first", "second"), names, strict=False)
    yield f'<p class="legend">{"".join(f"<span class={css!r}></span>{escape(name)}" for css, name in _keys(keys))}</p>'
    most = max(0.01, *(max(shares) for shares in drawn.scores.values()))
    plot = _square((edges[0], edges[-1]), (0.0, most), f"Distribution of {' and '.join(names)}", height=260)
    for side, (css, name) in enumerate(zip(("first", "second"), names, strict=False)):
        for place, share in enumerate(drawn.scores[name]):
            start, width = edges[place], (edges[place + 1] - edges[place]) / 2
            plot.bar(start + side * width, start + (side + 1) * width, 0.0, share, css)
    yield _figure(plot, ticks(edges[0], edges[-1], 5), ticks(0.0, most, 4), "share", "score")


def _keys(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((f"key {css}", name) for css, name in pairs)


def _power(judged: Judged) -> Iterator[str]:
    yield "<h2>What each feature tells by itself</h2>"
    measure = "R²" if judged.power_measure == "r2" else "AUC"
    yield (
        f"<p>{measure} of a model of this feature alone on the holdout. Above {judged.single_feature:g} it is taken "
        "for a leak.</p>"
    )
    rows = "".join(
        f"<span>{escape(name)}</span><span><i{' class=over' if power > judged.single_feature else ''} "
        f'style="width:{100 * max(0.0, min(1.0, power)):.1f}%"></i></span><span>{power:.3f}</span>'
        for name, power in list(judged.power.items())[:_FEATURES]
    )
    yield f'<div class="bars">{rows}</div>'


def _gates(judged: Judged) -> str:
    rows = "".join(
        f'<tr><td>{escape(each.gate)}</td><td class="{each.judgement}">{each.judgement}</td>'
        f"<td>{escape(each.sentence)}</td></tr>"
        for each in judged.verdicts
    )
    return f"<h2>The gates</h2><table><tr><th>gate</th><th>says</th><th>why</th></tr>{rows}</table>"


def _square(x: tuple[float, float], y: tuple[float, float], label: str, *, height: int = _SIDE) -> Plot:
    return Plot(x=x, y=y, label=label, width=_SIDE, height=height, top=28, bottom=48)


def _figure(plot: Plot, x: Sequence[float], y: Sequence[float], y_title: str, x_title: str) -> str:
    svg = plot.render([(value, f"{value:g}") for value in x], [(value, f"{value:g}") for value in y], y_title)
    return f'<figure>\n{svg}\n<figcaption class="soft">{escape(x_title)} from left to right</figcaption></figure>'
