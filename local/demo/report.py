"""``report.html``: the demonstration as a page that stands alone: no script, no network, light and dark.

The page's text stands in ``page.html``; this module fills in the numbers and draws.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from pathlib import Path
from string import Template

from local.demo.summary import Facts, Summary
from training.svg import Plot, Point, ticks

_FOLDER = Path(__file__).parent


def render(summary: Summary, facts: Facts) -> str:
    """The page."""
    template = Template((_FOLDER / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        _texts(summary, facts),
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        tiles=_tiles(summary),
        stream_legend=_stream_legend(summary),
        stream=_stream(summary, facts),
        quality=_quality(facts),
        versions=_versions(summary),
        refused=_table(("gate", "why it refused"), [(refusal.gate, refusal.reason) for refusal in summary.refused]),
        dead_letters=_table(("what was wrong with the record", "the daemon's reason"), facts.dead_letters),
    )


def _texts(summary: Summary, facts: Facts) -> dict[str, str]:
    whole = not summary.lost and not summary.duplicated
    verdict = "nothing lost, nothing doubled" if whole else "but the stream is not whole"
    usual = facts.typical_pause_ms
    return {
        "title": f"{summary.records_in:,} records, {len(summary.versions)} models, {verdict}",
        "model": escape(facts.model),
        "made_at": f"{facts.made_at:%Y-%m-%d %H:%M}",
        "old_version": escape(summary.versions[0].version),
        "new_version": escape(summary.versions[-1].version),
        "around_s": f"{facts.around_ms / 1000:g}",
        "sequence": str(summary.swap.sequence),
        "pause_ms": str(summary.swap.pause_ms),
        "handover_ms": str(facts.handover_gap_ms),
        "usual": "" if usual is None else f"In windows as wide before it, the longest gap is {usual:.0f} ms.",
        "notice_to_live_s": f"{summary.swap.notice_to_live_ms / 1000:.1f}",
        "compared": f"{facts.comparison.records:,}",
        "new_auc": _number(facts.comparison.new_auc),
        "old_auc": _number(facts.comparison.old_auc),
        "recomputed": f"{facts.recomputed:,}",
        "records_per_s": f"{summary.records_per_s:,.0f}",
    }


def _tiles(summary: Summary) -> str:
    tiles = [
        (f"{summary.records_in:,}", "records in"),
        (f"{summary.lost:,}", "lost"),
        (f"{summary.duplicated:,}", "scored twice"),
        (f"{summary.swap.pause_ms} ms", "longest gap around the swap"),
        (f"{summary.swap.notice_to_live_ms / 1000:.1f} s", "from notice to live"),
        (f"{len(summary.refused)}", "refused by a gate"),
    ]
    boxes = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in tiles)
    return f'<div class="tiles">{boxes}</div>'


def _stream(summary: Summary, facts: Facts) -> str:
    start_s = facts.moments.first_ms // 1000
    by_second: dict[int, dict[int, int]] = {}
    for (second, sequence), count in facts.per_second.items():
        by_second.setdefault(second - start_s, {})[sequence] = count
    highest = max(sum(counts.values()) for counts in by_second.values())
    end = max(by_second) + 1
    plot = Plot((0, end), (0, highest * 1.04), "Records per second over time, by version")
    order = [version.sequence for version in summary.versions]
    for second, counts in sorted(by_second.items()):
        low = 0
        for sequence in (*order, 0):
            if count := counts.get(sequence, 0):
                plot.bar(second + 0.06, second + 0.94, low, low + count, _css(sequence, order))
                low += count
    moments = facts.moments
    plot.rule(moments.retrain_ms / 1000 - start_s, "retrain begins", "faint")
    plot.rule(moments.swap_ms / 1000 - start_s, f"swap, longest gap {summary.swap.pause_ms} ms", leftwards=True)
    plot.rule(moments.damaged_ms / 1000 - start_s, "retrain on damaged data", "faint", row=1)
    plot.rule(moments.malformed_ms / 1000 - start_s, f"{summary.dead_letters} broken records", "broken", leftwards=True)
    x_ticks = [(value, f"{value:g} s") for value in ticks(0, end, 8)]
    y_ticks = [(value, f"{value:,.0f}") for value in ticks(0, highest)]
    return _figure(plot.render(x_ticks, y_ticks, "records per second"))


def _quality(facts: Facts) -> str:
    first, last = min(facts.daily_first), max(facts.daily_first)
    values = [*facts.daily.values(), *facts.daily_first.values()]
    low, high = min(values) - 0.02, max(values) + 0.02
    swap = (facts.swapped_on - first).days + 0.5
    plot = Plot((0, (last - first).days + 1), (low, high), "Area under the ROC curve by day", height=300)
    really = _by_day(facts.daily, first)
    plot.line(_by_day(facts.daily_first, first), "first alone")
    plot.line([point for point in really if point[0] <= swap], "first")
    plot.line([point for point in really if point[0] >= swap], "second")
    plot.dots([point for point in really if point[0] < swap], "first")
    plot.dots([point for point in really if point[0] >= swap], "second")
    late = swap > (last - first).days / 2
    plot.rule(swap, f"swap, at flights of {_day(facts.swapped_on)}", leftwards=late)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    x_ticks = [((day - first).days + 0.5, _day(day)) for day in days if day.day in {1, 8, 15, 22}]
    y_ticks = [(value, f"{value:.2f}") for value in ticks(low, high)]
    return _figure(plot.render(x_ticks, y_ticks, "area under the ROC curve"))


def _versions(summary: Summary) -> str:
    rows = []
    for version in summary.versions:
        quality = summary.quality[version.version]
        late = "unknown" if quality.base_rate is None else f"{quality.base_rate:.1%}"
        records = f"{version.records:,}"
        rows.append((version.version, str(version.sequence), records, _number(quality.auc), late))
    return _table(("version", "sequence in the ledger", "predictions", "area under the curve", "really late"), rows)


def _stream_legend(summary: Summary) -> str:
    order = [version.sequence for version in summary.versions]
    names = [(_css(version.sequence, order), f"version {escape(version.version)}") for version in summary.versions]
    items = [f'<span class="key {css}"></span>{name}' for css, name in (*names, ("dead", "dead letters"))]
    return f'<p class="legend">{"".join(items)}</p>'


def _by_day(daily: Mapping[date, float], first: date) -> list[Point]:
    return [((day - first).days + 0.5, auc) for day, auc in sorted(daily.items())]


def _css(sequence: int, order: Sequence[int]) -> str:
    if sequence == 0:
        return "dead"
    return "first" if sequence == order[0] else "second"


def _day(day: date) -> str:
    return f"{day.day} {day:%B}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _figure(svg: str) -> str:
    return f"<figure>\n{svg}\n</figure>"


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
