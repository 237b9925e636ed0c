"""What is read of a source, and what comes back: all that a caller of the adapters has to know."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
import numpy as np

from scoring.contract.clock import Moment, epoch_s
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.contract.source import Source


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """One read of one source: its fields, of the rows with a time in ``[start, end)``.

    Attributes:
        kinds: type of each field of the source; others are not looked at.
        event_time: the field with that time; None: rows of every time are read, and the interval only tells an API.
        known_by: what became known later is withheld from what is read; here it only tells one pull from another.
    """

    source: Source
    kinds: Mapping[str, FieldType]
    event_time: str | None
    start: Moment
    end: Moment
    known_by: Moment | None = None

    @property
    def fields(self) -> dict[str, FieldType]:
        """The type of each field that is read, in the source's order."""
        return {field: self.kinds[field] for field, _ in self.source.columns}

    @property
    def time_column(self) -> str | None:
        """The source's column with the time."""
        return None if self.event_time is None else dict(self.source.columns)[self.event_time]

    @property
    def what(self) -> str:
        """Names the source in messages."""
        return f"source {self.source.title!r}"


class Reader(Protocol):
    """Reads sources of one kind."""

    def read(self, pull: Pull) -> dict[str, Column]:
        """The fields of the rows in ``[start, end)``, in no particular order: float64 (missing is NaN; times are
        seconds since 1970), or lists of str and None.

        Raises:
            Unavailable: the source cannot be read now; nothing is kept of it, read again.
            ConfigurationError: a person has to change something: the connection, the place or a column is unknown, or
                a value is not of its field's type.
        """


def within(pull: Pull, columns: Mapping[str, Column]) -> dict[str, Column]:
    """The rows of ``columns`` with a time in ``[start, end)``; one without a time is in no interval."""
    if pull.event_time is None:
        return dict(columns)
    times = np.asarray(columns[pull.event_time], dtype=np.float64)
    places = np.flatnonzero((times >= epoch_s(pull.start)) & (times < epoch_s(pull.end)))
    return {name: _at(column, places.tolist()) for name, column in columns.items()}


def together(pull: Pull, parts: list[dict[str, Column]]) -> dict[str, Column]:
    """The rows of all parts as one."""
    return {name: _joined(kind, [part[name] for part in parts]) for name, kind in pull.fields.items()}


def _at(column: Column, places: list[int]) -> Column:
    return column[places] if isinstance(column, np.ndarray) else [column[place] for place in places]


def _joined(kind: FieldType, parts: list[Column]) -> Column:
    if kind is FieldType.STRING:
        return [word for part in parts for word in part]
    return np.concatenate([np.zeros(0), *(np.asarray(part, dtype=np.float64) for part in parts)])
