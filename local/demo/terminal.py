"""What the demonstration says while it runs: plain lines with the time since it began, also fit for a log file."""

import shutil
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STEPS = 8
_INDENT = " " * 8


class Terminal:
    """Prints progress. Lines are ``minutes:seconds  text``."""

    def __init__(
        self,
        write: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
    ) -> None:
        self._write = write
        self._clock = clock
        self._began_s = clock()
        self._width = width or min(max(shutil.get_terminal_size((100, 24)).columns, 60), 110)
        self.phases: list[tuple[str, float]] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demonstration began."""
        return self._clock() - self._began_s

    @contextmanager
    def step(self, number: int, title: str, why: str) -> Iterator[None]:
        """Announce a step, and note how long it took."""
        self._write("")
        self._write(f"{self._stamp()}  [{number}/{STEPS}] {title}")
        self.explain(why)
        began_s = self._clock()
        yield
        self.phases.append((title, self._clock() - began_s))

    def say(self, text: str) -> None:
        """One thing that happened."""
        lines = textwrap.wrap(text, self._width - len(_INDENT), break_long_words=False, break_on_hyphens=False)
        self._write(f"{self._stamp()}  {lines[0] if lines else ''}")
        for line in lines[1:]:
            self._write(_INDENT + line)

    def explain(self, text: str) -> None:
        """Why something matters; set back from what happens."""
        for line in textwrap.wrap(text, self._width - len(_INDENT) - 2, break_on_hyphens=False):
            self._write(f"{_INDENT}| {line}")

    def columns(self, name: str, value: str, words: str) -> None:
        """One line of a table: what, how much, and what that means."""
        start = f"    {name:<15}{value:>9}   "
        lines = textwrap.wrap(words, max(self._width - len(start), 30), break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            self._write((start if number == 0 else " " * len(start)) + line)

    def plain(self, text: str = "") -> None:
        """Text as it is."""
        self._write(text)

    def _stamp(self) -> str:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        return f"{minutes:>3}:{seconds:02d}"
