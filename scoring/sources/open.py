"""The reader for each kind of source, behind one."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from scoring.contract.encoder import Column
from scoring.contract.source import Api, Files
from scoring.lookups.database import Connections, Engines
from scoring.sources.api import ApiReader
from scoring.sources.clock import REAL, Clock
from scoring.sources.files import FilesReader
from scoring.sources.port import Pull, Reader
from scoring.sources.sql import SqlReader, count_rows, stream_rows


class Sources:
    """A ``Reader`` of sources of every kind. A context manager: leaving it closes the connections to databases.

    Args:
        connections: the URL of a connection by its name; raises ConfigurationError where there is none.
    """

    def __init__(self, connections: Connections, clock: Clock = REAL) -> None:
        self._engines = Engines(connections)
        self._files = FilesReader(connections)
        self._api = ApiReader(connections, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engines.close()

    def read(self, pull: Pull) -> dict[str, Column]:
        """The fields of the rows in ``[start, end)`` (see ``Reader``)."""
        return self._reader(pull).read(pull)

    def stream(self, pull: Pull) -> Iterator[dict[str, Any]]:
        """The same rows one by one in the order of their time, each a value by field; times as seconds since 1970.

        A database gives them as they are needed, of other sources all are read first.

        Raises:
            Unavailable, ConfigurationError: as ``Reader.read``.
        """
        if pull.source.origin is None:
            yield from stream_rows(self._engines, pull)
            return
        columns = self.read(pull)
        for place in _in_order(pull, columns):
            yield {name: column[place] for name, column in columns.items()}

    def count(self, pull: Pull) -> int | None:
        """How many rows ``read`` would bring, of Parquet files about how many; None where only reading tells.

        Raises:
            Unavailable, ConfigurationError: as ``Reader.read``.
        """
        match pull.source.origin:
            case None:
                return count_rows(self._engines, pull)
            case Files():
                return self._files.count(pull)
            case Api():
                return None

    def _reader(self, pull: Pull) -> Reader:
        match pull.source.origin:
            case None:
                return SqlReader(self._engines)
            case Files():
                return self._files
            case Api():
                return self._api


def _in_order(pull: Pull, columns: dict[str, Column]) -> list[int]:
    if pull.event_time is None:
        return list(range(len(next(iter(columns.values()), ()))))
    places: list[int] = np.argsort(np.asarray(columns[pull.event_time], dtype=np.float64), kind="stable").tolist()
    return places
