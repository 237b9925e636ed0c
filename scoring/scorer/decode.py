"""Decode: JSON records to columns, strictly typed; a record that does not fit fails alone."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from scoring.contract.clock import epoch_s
from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Column
from scoring.contract.features import Field, FieldType
from scoring.contract.records import Answer, RecordRules
from scoring.scorer.blame import field_of
from scoring.scorer.library import load
from scoring.scorer.scan import Scanned, Scanner
from scoring.scorer.shape import Counts, Fault, Shapes

_JSON_TYPES: dict[FieldType, Any] = {
    FieldType.NUMBER: float,
    FieldType.STRING: str,
    FieldType.BOOLEAN: bool,
    FieldType.TIME: Annotated[datetime, msgspec.Meta(tz=True)],
}
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
_AS_BEFORE = RecordRules()
_FEW = 64
_NUMERIC = {FieldType.NUMBER, FieldType.BOOLEAN}
# Stands for a number that is not there. It is told by which object it is: no sender's number is this one.
_NO_NUMBER = float("nan")


class Failure(msgspec.Struct, frozen=True):
    """A record that cannot be decoded or scored.

    Attributes:
        index: its place in the batch.
        detail: a sentence for people, never the content.
        field: the one to blame, or the lookup; of a key that nobody declared, or that is there twice, the key itself.
            None where it is the whole record.
    """

    index: int
    reason: Reason
    detail: str
    field: str | None = None


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

    def without(self, faults: Mapping[int, Fault]) -> "Decoded":
        """The same but for some of the rows, which failed after all; ``faults`` are by place in the columns."""
        if not faults:
            return self
        failures = [Failure(self.rows[place], *faults[place]) for place in sorted(faults)]
        keep = [place for place in range(len(self.rows)) if place not in faults]
        return Decoded(
            {name: _select(column, keep) for name, column in self.columns.items()},
            [self.rows[place] for place in keep],
            [*self.failures, *failures],
        )


# RFC 3339's years, in UTC: a local time at the edge can lie beyond them, and float64 rounds the last microseconds up.
EARLIEST_S = epoch_s(datetime(1, 1, 1, tzinfo=UTC))
END_S = epoch_s(datetime(9999, 12, 31, tzinfo=UTC)) + 86_400.0


class Decoder:
    """Decodes records of one feature schema's fields.

    Records that are plain are scanned by the compiled library where there is one; the others are decoded one by one.
    Each is decoded once and columns are made once, however many records of the batch are bad.

    Args:
        scanning: False leaves the compiled library out; the outcome is the same.
    """

    def __init__(self, fields: Sequence[Field], rules: RecordRules = _AS_BEFORE, *, scanning: bool = True) -> None:
        library = load() if scanning and fields else None
        self._scanner = None if library is None else Scanner(library, fields, rules)
        self._rules = rules
        self._shapes = Shapes([field.name for field in fields], rules)
        attributes = [(f"f{index}", field) for index, field in enumerate(fields)]
        record = msgspec.defstruct(
            "Record",
            [_member(attribute, field, told=self._shapes.counts) for attribute, field in attributes],
            rename={attribute: field.name for attribute, field in attributes},
            gc=False,
            kw_only=True,
        )
        self._decode = msgspec.json.Decoder(record).decode
        # Where keys are counted, an optional field that is not there is told apart from one that is null.
        told = self._shapes.counts
        self._converters = [(field.name, told and not field.required, _to_column(field.type)) for field in fields]
        self._numeric = {field.name for field in fields if field.type in _NUMERIC}
        self._times = [field.name for field in fields if field.type is FieldType.TIME]
        self._texts = [field.name for field in fields if field.type is FieldType.STRING]

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch of Kafka values."""
        if self._scanner is None or not values:
            return self._decoded(values)
        scanned = self._scanner.scan(values)
        if not scanned.others:
            return Decoded(scanned.columns, list(range(len(values))), [])
        return _merged(scanned, self._decoded([values[place] for place in scanned.others]), len(values))

    def _decoded(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode records one by one."""
        records, failures = self._parse(values, self._oversized(values))
        rows = list(range(len(values)))
        if failures:
            bad = {failure.index for failure in failures}
            rows = [row for row in rows if row not in bad]
        columns, absent = self._columns(records)
        kept: Any = values if not failures else [values[row] for row in rows]  # no null is among them
        return Decoded(columns, rows, failures).without(self._faults(kept, columns, absent))

    def _oversized(self, values: Sequence[bytes | None]) -> set[int]:
        limit = self._rules.maximum_value_bytes
        if limit is None:
            return set()
        try:
            if max(map(len, values), default=0) <= limit:  # type: ignore[arg-type]  # null: see below
                return set()
        except TypeError:
            pass
        return {place for place, value in enumerate(values) if value is not None and len(value) > limit}

    def _parse(self, values: Sequence[bytes | None], oversized: set[int]) -> tuple[list[Any], list[Failure]]:
        """The records that can be read; those before one that cannot stay read."""
        records: list[Any] = []
        failures: list[Failure] = []
        waiting = iter(values)
        if oversized:
            waiting = iter([b"" if place in oversized else value for place, value in enumerate(values)])
        while True:
            try:
                records.extend(map(self._decode, waiting))  # type: ignore[arg-type]  # null fails like any other
            except _UNREADABLE as error:
                place = len(records) + len(failures)
                failures.append(self._failure(place, values[place], place in oversized, error))
            else:
                return records, failures

    def _failure(self, place: int, value: bytes | None, oversized: bool, error: Exception) -> Failure:  # noqa: FBT001
        if value is None:
            return Failure(place, Reason.NULL_VALUE, "the record's value is null")
        if oversized:
            limit = self._rules.maximum_value_bytes
            return Failure(place, Reason.TOO_LARGE, f"its value has more than {limit} bytes")
        if isinstance(error, RecursionError) and self._rules.maximum_depth is not None:
            return Failure(place, Reason.TOO_DEEP, f"it is nested more than {self._rules.maximum_depth} times")
        detail = str(error)
        return Failure(place, _reason(error), detail, field_of(detail))

    def _columns(self, records: Sequence[Any]) -> tuple[dict[str, Column], Counts | None]:
        """The columns, and how many declared fields each record lacks; None where none does, or nobody asks."""
        across = zip(*map(astuple, records), strict=True) if records else [()] * len(self._converters)
        columns: dict[str, Column] = {}
        absent: Counts | None = None
        for (name, optional, convert), values in zip(self._converters, across, strict=True):
            left_out: Counts | None = None
            if name in self._numeric:
                columns[name] = column = convert(values)
                if optional and np.isnan(column).any():  # type: ignore[arg-type]  # an array
                    left_out = _places(values, _NO_NUMBER)
            else:
                left_out = _places(values, UNSET) if optional else None
                given = values if left_out is None else [None if value is UNSET else value for value in values]
                columns[name] = convert(given)
            if left_out is not None:
                absent = left_out if absent is None else absent + left_out
        return columns, absent

    def _faults(self, values: Sequence[bytes], columns: dict[str, Column], absent: Counts | None) -> dict[int, Fault]:
        """What is wrong with records that could be read, by their place among them: the first fault of each."""
        faults: dict[int, Fault] = {}
        for name in self._times:
            for place in _beyond(columns[name]):
                told = f"Time beyond the years 1 to 9999 in UTC - at `$.{name}`"
                faults.setdefault(place, (Reason.WRONG_TYPE, told, name))
        whole = b"".join(values)
        for place, fault in self._shapes.faults(values, whole, absent).items():
            faults.setdefault(place, fault)
        if self._texts:
            self._add_text_faults(values, whole, columns, faults)
        return faults

    def _add_text_faults(
        self, values: Sequence[bytes], whole: bytes, columns: dict[str, Column], faults: dict[int, Fault]
    ) -> None:
        limit = self._rules.maximum_text_characters
        if limit is not None and len(whole) > limit and max(map(len, values)) > limit:
            fault = Reason.TOO_LARGE, f"a string has more than {limit} characters"
            self._find(columns, lambda text: len(text) > limit, *fault, faults)
        escapes = self._rules.null_characters == Answer.DEAD_LETTER and b"\\" in whole
        if escapes and b"\\u0000" in whole:
            self._find(columns, lambda text: "\0" in text, Reason.NULL_CHARACTER, "a string holds U+0000", faults)

    def _find(
        self,
        columns: dict[str, Column],
        wrong: Callable[[str], bool],
        reason: Reason,
        detail: str,
        faults: dict[int, Fault],
    ) -> None:
        for name in self._texts:
            for place, text in enumerate(columns[name]):
                if isinstance(text, str) and wrong(text):
                    faults.setdefault(place, (reason, detail, name))


def _merged(scanned: Scanned, rest: Decoded, records: int) -> Decoded:
    """A batch, of which ``rest`` are the records that were not plain."""
    places = [scanned.others[row] for row in rest.rows]
    for name, column in scanned.columns.items():
        if isinstance(column, np.ndarray):
            column[places] = rest.columns[name]
        else:
            for place, value in zip(places, rest.columns[name], strict=True):
                column[place] = value  # type: ignore[index]  # a list, made for this
    failures = [Failure(scanned.others[each.index], each.reason, each.detail, each.field) for each in rest.failures]
    if not failures:
        return Decoded(scanned.columns, list(range(records)), [])
    bad = {failure.index for failure in failures}
    keep = [place for place in range(records) if place not in bad]
    return Decoded({name: _select(column, keep) for name, column in scanned.columns.items()}, keep, failures)


def _member(attribute: str, field: Field, *, told: bool) -> tuple[str, Any] | tuple[str, Any, Any]:
    """A member of the struct; ``told`` where an optional field that is not there is told apart from null."""
    json_type = _JSON_TYPES[field.type]
    if field.required:
        return attribute, json_type
    if not told:
        return attribute, json_type | None, None
    if field.type in _NUMERIC:
        return attribute, json_type | None, _NO_NUMBER
    return attribute, json_type | None | UnsetType, UNSET


def _places(values: Sequence[Any], sought: object) -> Counts | None:
    """1 where a value is that very object, else 0; None where none is."""
    if not [value for value in values if value is sought]:
        return None
    return np.fromiter((value is sought for value in values), np.int64, len(values))


def _to_column(field_type: FieldType) -> Callable[[Sequence[Any]], Column]:
    match field_type:
        case FieldType.STRING:
            return list
        case FieldType.TIME:
            return _seconds
        case FieldType.NUMBER | FieldType.BOOLEAN:
            return _numbers


def _numbers(values: Sequence[float | None]) -> Column:
    try:
        return np.fromiter(values, np.float64, len(values))  # faster, where none is missing
    except TypeError:
        return np.array(values, dtype=np.float64)  # None becomes NaN


def _seconds(values: Sequence[datetime | None]) -> Column:
    """Seconds since 1970: for aware datetimes ``timestamp`` is ``epoch_s``, in C."""
    try:
        return np.fromiter(map(datetime.timestamp, values), np.float64, len(values))  # type: ignore[arg-type]
    except TypeError:  # a missing one
        missing = float("nan")
        return np.array([missing if value is None else value.timestamp() for value in values], dtype=np.float64)


def _beyond(column: Column) -> list[int]:
    """Where a time is beyond the calendar."""
    seconds = np.asarray(column, dtype=np.float64)
    if len(seconds) <= _FEW:  # a call of numpy's takes as long as twenty numbers here
        return [place for place, second in enumerate(seconds.tolist()) if second < EARLIEST_S or second >= END_S]
    return [int(place) for place in np.flatnonzero((seconds < EARLIEST_S) | (seconds >= END_S))]


def _select(column: Column, places: Sequence[int]) -> Column:
    if isinstance(column, np.ndarray):
        return column[np.array(places, dtype=np.intp)]
    return [column[place] for place in places]


def _reason(error: Exception) -> Reason:
    text = str(error)
    if "out of range" in text:  # a number beyond float64
        return Reason.NON_FINITE
    if "missing required field" in text:
        return Reason.MISSING_FIELD
    typed = isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError | UnicodeError)
    return Reason.WRONG_TYPE if typed and not isinstance(error, RecursionError) else Reason.MALFORMED_JSON
