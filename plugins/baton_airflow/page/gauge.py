"""A small picture as SVG text: a gate's number against its limit."""

from html import escape

from scoring.contract.verdict import Judgement, Verdict

_WIDTH, _HEIGHT = 120, 18


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
