"""How the page writes numbers, times and durations, and Markdown of the questions."""

from datetime import UTC, datetime, timedelta

from markdown_it import MarkdownIt
from markupsafe import Markup

# The question's text holds names and reasons that people wrote: no HTML passes, and no link or picture is made.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
DASH = "\N{EN DASH}"
# What codes are called in a sentence; what is not here is called as it is.
_WORDS = {
    "promote": "promoted",
    "rollback": "rolled back to",
    "retire": "retired",
    "pass": "passed",
    "fail": "failed",
    "dry_run": "dry run",
}
_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def moment(at: datetime | None) -> str:
    """``2026-03-01 10:00 UTC``; a dash where there is none."""
    return DASH if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def word(code: str) -> str:
    """What a code is called in a sentence."""
    return _WORDS.get(code, code)


def day(at: datetime) -> str:
    """``2026-03-01``."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def ago(since: datetime, now: datetime) -> str:
    """``3 days ago``, in the largest unit; never in the future, for clocks differ."""
    passed = max(now - since, timedelta(0))
    return "just now" if passed < timedelta(minutes=1) else f"{duration(passed)} ago"


def duration(length: timedelta) -> str:
    """``3 days``, in the largest unit that fits, rounded down."""
    for unit_s, name in _UNITS:
        count = int(length.total_seconds() // unit_s)
        if count:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{length.total_seconds():.0f} seconds"


def seconds(length_s: float | None) -> str:
    """``0.2 ms``, ``4 ms`` or ``1.5 s``; a dash where it is not known."""
    if length_s is None:
        return DASH
    if length_s >= 10:
        return f"{length_s:,.0f} s"
    return f"{length_s:.2g} s" if length_s >= 1 else f"{length_s * 1000:.3g} ms"


def number(value: float | None) -> str:
    """Four digits that count; a dash where there is none."""
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) else f"{value + 0.0:.4g}"


def size(size_bytes: int) -> str:
    """``395 bytes``, ``1.2 kB``."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1000:.3g} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.3g} MB"


def markdown(text: str) -> Markup:
    """Safe HTML of the question's Markdown."""
    return Markup(_MARKDOWN.render(text))  # noqa: S704  its HTML is turned off
