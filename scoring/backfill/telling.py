"""Tells how far a backfill is: on a terminal in one line that moves, elsewhere in a line now and then."""

import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from scoring.backfill.progress import Progress, bar, counted
from scoring.backfill.store import Kept

# How often, at the most, on a terminal and elsewhere.
OFTEN_S, SELDOM_S = 0.1, 10.0
BAR_CHARACTERS = 20
_CLEAR = "\r\x1b[K"


class Teller:
    """Writes to standard error, which no machine reads. A context manager: leaving it ends the line.

    Args:
        chunks, found: of the plan, and those that were done before.
    """

    def __init__(
        self,
        model: str,
        chunks: int,
        found: int,
        stream: TextIO | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._stream = stream or sys.stderr
        self._clock_s = clock_s
        self._moving = self._stream.isatty()
        self._progress = Progress(chunks=chunks, found=found, began_s=clock_s())
        self._told_s = clock_s()

    def __enter__(self) -> Self:
        if self._progress.found:
            chunks = counted(self._progress.chunks, "chunk")
            self._write(f"going on: {self._progress.found:,} of {chunks} done before\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._moving:
            self._stream.write("\n")
            self._stream.flush()

    def tell(self, _number: int, kept: Kept) -> None:
        """One more chunk is done."""
        self._progress = self._progress.with_chunk(kept)
        now_s, last = self._clock_s(), self._progress.share == 1.0
        if last or now_s - self._told_s >= (OFTEN_S if self._moving else SELDOM_S):
            self._told_s = now_s
            self._write(self._line(now_s))

    def _line(self, now_s: float) -> str:
        line = self._progress.line(now_s)
        if not self._moving:
            return f"{line}\n"
        return f"{bar(self._progress.share, BAR_CHARACTERS)} {line}"

    def _write(self, text: str) -> None:
        self._stream.write(f"{_CLEAR if self._moving else ''}{self._model}: {text}")
        self._stream.flush()
