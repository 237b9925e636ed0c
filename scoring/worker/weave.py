"""Puts predictions together: columns of JSON, and the text between them, record by record."""

import ctypes
from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np

from scoring.scorer.library import load
from scoring.worker.json_columns import Lines


class Pattern:
    """Constant text and columns in turn, as they are added."""

    def __init__(self, text: bytes) -> None:
        self._texts = [text]
        self._columns: list[Lines] = []

    def text(self, text: bytes) -> None:
        """Text that all records have here."""
        self._texts[-1] += text

    def column(self, lines: Lines) -> None:
        """A line of these for each record."""
        self._columns.append(lines)
        self._texts.append(b"")

    def woven(self, records: int) -> list[bytes]:
        """What that makes of each record.

        Raises:
            ValueError: a column has another number of lines.
        """
        library = load()
        found = self._joined(records) if library is None else self._woven(library, records)
        if found is None:
            counts = sorted({column.count(b"\n") for column in self._columns})
            raise ValueError(f"{records} records, but columns of {counts} whole lines")
        return found

    def _joined(self, records: int) -> list[bytes] | None:
        if any(column.count(b"\n") != records or not (b"\n" + column).endswith(b"\n") for column in self._columns):
            return None
        parts: list[Iterable[bytes]] = [repeat(self._texts[0], records)]
        for column, text in zip(self._columns, self._texts[1:], strict=True):
            parts += [column.split(b"\n"), repeat(text)]
        return [b"".join(fragments) for fragments in zip(*parts, strict=False)]  # behind the last line feed is nothing

    def _woven(self, library: Any, records: int) -> list[bytes] | None:
        columns, texts = len(self._columns), len(self._texts)
        sizes = np.fromiter(map(len, [*self._texts, *self._columns]), np.int64, texts + columns)
        size = int(sizes[:texts].sum()) * records + int(sizes[texts:].sum())  # line feeds are left out
        out, room = np.empty(size, np.uint8), np.empty(columns + records, np.int64)
        sizes_at, room_at = sizes.ctypes.data, room.ctypes.data
        failed = library.weave(
            columns,
            (ctypes.c_char_p * texts)(*self._texts),
            sizes_at,
            (ctypes.c_char_p * columns)(*self._columns),
            sizes_at + sizes.itemsize * texts,
            records,
            room_at,
            out.ctypes.data,
            room_at + room.itemsize * columns,
        )
        if failed:
            return None
        stops = room[columns:].tolist()
        whole = out[: stops[-1]].tobytes() if stops else b""
        return [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
