"""Scans plain records into columns by the compiled library (``records.c``), without an object per record or value.

What is plain becomes exactly what ``decode.Decoder`` makes of it; of the rest it is only said that it is not plain.
"""

from collections.abc import Sequence
from ctypes import addressof
from typing import Any, cast

import msgspec
import numpy as np

from scoring.contract.encoder import Column
from scoring.contract.fields import Field, FieldType
from scoring.contract.records import Answer, RecordRules
from scoring.scorer.library import RecordShape

# As in records.c.
_KINDS = {FieldType.NUMBER: 0, FieldType.BOOLEAN: 1, FieldType.STRING: 2, FieldType.TIME: 3}
_NO_LIMIT = np.iinfo(np.int64).max
_NOTHING, _NOTHING_BYTE = "\0", b"\0"
_PACKED_BYTES = 2  # by record and text, beyond those of the records: a line feed, and the mark of none
_TEXT_WORDS, _LEARNT_WORDS = 2, 2  # text_t by record and field, learnt_t by field


class Scanned(msgspec.Struct, frozen=True):
    """What became of a batch.

    Attributes:
        columns: by field, of the length of the batch; what they hold of records that are not plain has no meaning.
        others: places of the records that are not plain.
    """

    columns: dict[str, Column]
    others: list[int]


class Scanner:
    """Scans records of one feature schema's fields; any thread may call it, several at a time.

    Args:
        library: of ``library.load``.
        fields: at least one.
    """

    def __init__(self, library: Any, fields: Sequence[Field], rules: RecordRules) -> None:
        self._scan = library.scan
        self._texts = [field.name for field in fields if field.type is FieldType.STRING]
        self._numbers = [field.name for field in fields if field.type is not FieldType.STRING]
        self._names = [field.name for field in fields]
        encoded = [name.encode() for name in self._names]
        name_ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        kinds = np.array([_KINDS[field.type] for field in fields], np.uint8)
        required = np.array([field.required for field in fields], np.uint8)
        columns = np.array(
            [(self._texts if field.type is FieldType.STRING else self._numbers).index(field.name) for field in fields],
            np.int64,
        )
        names = np.frombuffer(b"".join(encoded), np.uint8)
        self._kept = (names, name_ends, kinds, required, columns)  # what the shape points to
        self._shape = RecordShape(
            fields=len(fields),
            texts=len(self._texts),
            names=names.ctypes.data,
            name_ends=name_ends.ctypes.data,
            kinds=kinds.ctypes.data,
            required=required.ctypes.data,
            columns=columns.ctypes.data,
            others=rules.unknown_fields == Answer.IGNORE,
            maximum_bytes=_limit(rules.maximum_value_bytes),
            maximum_text_bytes=_limit(rules.maximum_text_characters),  # no character has less than a byte
        )
        self._address = addressof(self._shape)

    def scan(self, values: Sequence[bytes | None]) -> Scanned:
        """Scan a batch of Kafka values, at least one."""
        given = cast("Sequence[bytes]", values)
        try:
            whole = b"".join(given)
        except TypeError:
            given = [b"" if value is None else value for value in values]  # nothing is not plain either
            whole = b"".join(given)
        records, texts, fields = len(values), len(self._texts), len(self._names)
        numbers = np.empty((len(self._numbers), records))
        packed = np.empty(len(whole) + _PACKED_BYTES * texts * records, np.uint8)
        plain = np.empty(records, np.bool_)
        # One piece of memory: to ask an array for its address takes as long as to scan a record.
        room = np.empty(records + texts + _TEXT_WORDS * texts * records + _LEARNT_WORDS * fields, np.int64)
        ends, packed_ends = room[:records], room[records : records + texts]
        np.cumsum(np.fromiter(map(len, given), np.int64, records), out=ends)
        ends_at = room.ctypes.data
        packed_ends_at = ends_at + room.itemsize * records
        texts_at = packed_ends_at + room.itemsize * texts
        self._scan(
            self._address,
            whole,
            ends_at,
            records,
            numbers.ctypes.data,
            packed.ctypes.data,
            packed_ends_at,
            texts_at,
            texts_at + room.itemsize * _TEXT_WORDS * texts * records,
            plain.ctypes.data,
        )
        columns: dict[str, Column] = dict(zip(self._numbers, numbers, strict=True))
        others = set(np.flatnonzero(~plain).tolist())
        starts = [0, *packed_ends.tolist()]
        for name, start, stop in zip(self._texts, starts, starts[1:], strict=False):
            columns[name] = _unpacked(packed[start : stop - 1].tobytes(), others)
        return Scanned({name: columns[name] for name in self._names}, sorted(others))


def _unpacked(column: bytes, others: set[int]) -> list[str | None]:
    """A column of text; records whose text is no UTF-8 join ``others``."""
    try:
        texts: list[str | None] = column.decode().split("\n")  # type: ignore[assignment]  # of str
    except UnicodeDecodeError:
        texts = [_decoded(text, others, place) for place, text in enumerate(column.split(b"\n"))]
    return [None if text == _NOTHING else text for text in texts] if _NOTHING_BYTE in column else texts


def _decoded(text: bytes, others: set[int], place: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        others.add(place)
        return ""


def _limit(stated: int | None) -> int:
    return _NO_LIMIT if stated is None else stated
