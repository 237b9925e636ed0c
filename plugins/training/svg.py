"""A small plot as SVG text, to stand in a page: no library, no network, colours by the page's classes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]

_TICK_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass
class Plot:
    """One plot with linear axes. Marks are added in data coordinates; ``render`` gives the SVG.

    Attributes:
        x, y: the range of each axis.
        label: what the picture shows, for people who cannot see it.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    label: str
    width: int = 940
    height: int = 320
    left: int = 56
    right: int = 16
    top: int = 52
    bottom: int = 44
    _marks: list[str] = field(default_factory=list)
    _over: list[str] = field(default_factory=list)

    def bar(self, start: float, end: float, low: float, high: float, css: str) -> None:
        """A filled box from ``start`` to ``end`` and ``low`` to ``high``."""
        x0, x1, y0, y1 = self._x(start), self._x(end), self._y(high), self._y(low)
        self._marks.append(
            f'<rect class="{css}" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.2f}" height="{y1 - y0:.2f}"/>'
        )

    def line(self, points: Sequence[Point], css: str) -> None:
        """A line through the points."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        self._marks.append(f'<polyline class="line {css}" points="{path}"/>')

    def dots(self, points: Iterable[Point], css: str, radius: float = 2.6) -> None:
        """A dot at each point."""
        self._marks += [
            f'<circle class="{css}" cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{radius}"/>' for x, y in points
        ]

    def rule(self, x: float, text: str, css: str = "rule", *, row: int = 0, leftwards: bool = False) -> None:
        """A vertical line with a label above the plot, in the row counted from the plot upwards."""
        at, over = self._x(x), self.top - 6 - 14 * row
        self._over.append(
            f'<line class="{css}" x1="{at:.1f}" x2="{at:.1f}" y1="{over}" y2="{self.height - self.bottom}"/>'
        )
        anchor, shift = ("end", -5) if leftwards else ("start", 5)
        self._over.append(
            f'<text class="note" text-anchor="{anchor}" x="{at + shift:.1f}" y="{over + 4}">{escape(text)}</text>'
        )

    def render(self, x_ticks: Iterable[tuple[float, str]], y_ticks: Iterable[tuple[float, str]], y_title: str) -> str:
        """The SVG element."""
        parts = [
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.label)}">',
            f"<title>{escape(self.label)}</title>",
            *(self._y_tick(value, text) for value, text in y_ticks),
            *self._marks,
            *(self._x_tick(value, text) for value, text in x_ticks),
            _line("axis", self.left, self._y(self.y[0]), self.width - self.right, self._y(self.y[0])),
            f'<text class="tick" x="{self.left - 44}" y="14">{escape(y_title)}</text>',
            *self._over,
            "</svg>",
        ]
        return "\n".join(parts)

    def _x_tick(self, value: float, text: str) -> str:
        x, y = self._x(value), self.height - self.bottom
        tick = f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{y + 19}">{escape(text)}</text>'
        return _line("axis", x, y, x, y + 4) + tick

    def _y_tick(self, value: float, text: str) -> str:
        y = self._y(value)
        tick = f'<text class="tick" text-anchor="end" x="{self.left - 8}" y="{y + 4:.1f}">{escape(text)}</text>'
        return _line("grid", self.left, y, self.width - self.right, y) + tick

    def _x(self, value: float) -> float:
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def _y(self, value: float) -> float:
        low, high = self.y
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)


def _line(css: str, x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line class="{css}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, roughly ``about`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in _TICK_STEPS if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
