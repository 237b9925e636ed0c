"""Decode: JSON records to columns, strictly typed; a record that does not fit fails alone."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from scoring.contract.clock import epoch_s
from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Column
from scoring.contract.features import Field, FieldType

_JSON_TYPES: dict[FieldType, Any] = {
    FieldType.NUMBER: float,
    FieldType.STRING: str,
    FieldType.BOOLEAN: bool,
    FieldType.TIME: Annotated[datetime, msgspec.Meta(tz=True)],
}


class Failure(msgspec.Struct, frozen=True):
    """A record that cannot be decoded or scored.

    Attributes:
        index: its place in the batch.
        detail: a sentence for people that names the field, never the content.
    """

    index: int
    reason: Reason
    detail: str


class Decoded(msgspec.Struct, frozen=True):
    """The records of a batch that decoded.

    Attributes:
        columns: by field, each of length ``len(rows)``.
        rows: for each row of the columns, the record's place in the batch.
        failures: the other records.
    """

    columns: dict[str, Column]
    rows: list[int]
    failures: list[Failure]


# RFC 3339's years, in UTC: a local time at the edge can lie beyond them, and float64 rounds the last microseconds up.
EARLIEST_S = epoch_s(datetime(1, 1, 1, tzinfo=UTC))
END_S = epoch_s(datetime(9999, 12, 31, tzinfo=UTC)) + 86_400.0


class Decoder:
    """Decodes records of one feature schema's fields; unknown fields are ignored."""

    def __init__(self, fields: Sequence[Field]) -> None:
        attributes = [(f"f{index}", field) for index, field in enumerate(fields)]
        record = msgspec.defstruct(
            "Record",
            [_member(attribute, field) for attribute, field in attributes],
            rename={attribute: field.name for attribute, field in attributes},
            gc=False,
            kw_only=True,
        )
        self._decode = msgspec.json.Decoder(record).decode
        self._readers = [(field.name, attrgetter(attribute), _to_column(field.type)) for attribute, field in attributes]

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch of Kafka values."""
        try:
            records = [self._decode(value) for value in values]  # type: ignore[arg-type]  # null fails like any other
            return Decoded(self._columns(records), list(range(len(records))), [])
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return self._decode_each(values)

    def _decode_each(self, values: Sequence[bytes | None]) -> Decoded:
        records: list[Any] = []
        rows: list[int] = []
        failures: list[Failure] = []
        for index, value in enumerate(values):
            try:
                if value is None:
                    failures.append(Failure(index, Reason.NULL_VALUE, "the record's value is null"))
                    continue
                record = self._decode(value)
                self._columns([record])
                records.append(record)
                rows.append(index)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                failures.append(Failure(index, _reason(error), str(error)))
        return Decoded(self._columns(records), rows, failures)

    def _columns(self, records: Sequence[Any]) -> dict[str, Column]:
        return {name: convert(map(read, records)) for name, read, convert in self._readers}


def _member(attribute: str, field: Field) -> tuple[str, Any] | tuple[str, Any, Any]:
    json_type = _JSON_TYPES[field.type]
    return (attribute, json_type) if field.required else (attribute, json_type | None, None)


def _to_column(field_type: FieldType) -> Callable[[Iterable[Any]], Column]:
    match field_type:
        case FieldType.STRING:
            return list
        case FieldType.TIME:
            return _times
        case FieldType.NUMBER | FieldType.BOOLEAN:
            return _numbers


def _numbers(values: Iterable[float | None]) -> Column:
    return np.array(list(values), dtype=np.float64)  # None becomes NaN


def _times(values: Iterable[datetime | None]) -> Column:
    missing = float("nan")
    seconds = [missing if value is None else epoch_s(value) for value in values]
    if any(moment < EARLIEST_S or moment >= END_S for moment in seconds):
        raise ValueError("Time beyond the years 1 to 9999 in UTC")
    return np.array(seconds, dtype=np.float64)


def _reason(error: Exception) -> Reason:
    text = str(error)
    if "out of range" in text:  # a number beyond float64
        return Reason.NON_FINITE
    if "missing required field" in text:
        return Reason.MISSING_FIELD
    typed = isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError | UnicodeError)
    return Reason.WRONG_TYPE if typed and not isinstance(error, RecursionError) else Reason.MALFORMED_JSON
