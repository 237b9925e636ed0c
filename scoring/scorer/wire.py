"""Protocol Buffers on the wire: as much of the format as an ONNX file needs, and stricter than other readers.

Two readers of one file must not see two different things, or what was checked is not what runs. So everything that
readers treat differently is refused: unknown fields, a single field that is there twice (others merge, or take the
last), repeated numbers that are not in one piece, other wire types than the writer's. Nothing recurses, and the time
is linear in the size. Source: the wire format's specification, "Encoding", of Protocol Buffers.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scoring.contract.errors import BundleRejected

Bytes = npt.NDArray[np.uint8]
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAXIMUM_VARINT_BYTES = 10


class Kind(Enum):
    """What a field holds. ``S`` at the end: it may be repeated."""

    INT = auto()
    FLOAT = auto()
    TEXT = auto()
    TEXTS = auto()
    BYTES = auto()
    BYTESS = auto()
    MESSAGE = auto()
    MESSAGES = auto()
    INTS = auto()
    FLOATS = auto()
    PACKED = auto()
    IGNORED = auto()
    REFUSED = auto()


class Slot(NamedTuple):
    """A field of a message: its name, and what it holds."""

    name: str
    kind: Kind


Layout = Mapping[int, Slot]
_WIRE = {Kind.INT: VARINT, Kind.INTS: VARINT, Kind.FLOAT: FIXED32, Kind.FLOATS: FIXED32}
_ONE_BY_ONE = {Kind.TEXTS, Kind.BYTESS, Kind.MESSAGES}


def read(content: bytes, layout: Layout, what: str) -> dict[str, Any]:
    """The fields of one message by name: int, float, str, bytes (also of messages inside), lists of them, arrays.

    Args:
        what: names the message in refusals.

    Raises:
        BundleRejected: it is no such message, or holds what ``layout`` does not allow.
    """
    found: dict[str, Any] = {}
    place, end = 0, len(content)
    while place < end:
        start = place
        tag, place = _varint(content, place, what)
        slot = layout.get(tag >> 3)
        if slot is None or slot.kind is Kind.REFUSED:
            named = f"field {tag >> 3}" if slot is None else slot.name
            raise BundleRejected(f"compiled model: {what}: {named} is not allowed")
        if tag & 7 != _WIRE.get(slot.kind, LENGTH):
            raise BundleRejected(f"compiled model: {what}: {slot.name} is written in another way than ONNX's")
        if slot.name in found and slot.kind not in _ONE_BY_ONE:
            raise BundleRejected(f"compiled model: {what}: {slot.name} is there twice")
        if slot.kind in {Kind.INTS, Kind.FLOATS}:
            run = _ints if slot.kind is Kind.INTS else _floats
            found[slot.name], place = run(content, start, place - start, what)
            continue
        value, place = _value(content, place, slot, what)
        if slot.kind in _ONE_BY_ONE:
            found.setdefault(slot.name, []).append(value)
        else:
            found[slot.name] = value
    return found


def varints(content: bytes, what: str) -> npt.NDArray[np.int64]:
    """The numbers of a packed field."""
    raw = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise BundleRejected(f"compiled model: {what}: a number is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return _decoded(raw, starts, ends - starts + 1, what)


def _varint(content: bytes, place: int, what: str) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(content[place : place + MAXIMUM_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + index + 1
    raise BundleRejected(f"compiled model: {what}: it is cut off, or no ONNX")


def _value(content: bytes, place: int, slot: Slot, what: str) -> tuple[Any, int]:
    if slot.kind is Kind.INT:
        value, place = _varint(content, place, what)
        return value - (1 << 64) if value >> 63 else value, place
    if slot.kind is Kind.FLOAT:
        following = place + 4
    else:
        size, place = _varint(content, place, what)
        following = place + size
    if following > len(content):
        raise BundleRejected(f"compiled model: {what}: {slot.name} is cut off")
    piece = content[place:following]
    if slot.kind is Kind.FLOAT:
        return float(np.frombuffer(piece, "<f4")[0]), following
    return _text(piece, slot, what) if slot.kind in {Kind.TEXT, Kind.TEXTS} else piece, following


def _text(piece: bytes, slot: Slot, what: str) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError as error:
        raise BundleRejected(f"compiled model: {what}: {slot.name} is no UTF-8") from error


def _ints(content: bytes, start: int, tag_bytes: int, what: str) -> tuple[npt.NDArray[np.int64], int]:
    """A run of numbers, each behind the same tag of one byte (a writer of proto2 packs nothing by itself)."""
    raw = np.frombuffer(content, np.uint8)[start:]
    ends = np.flatnonzero(raw < 0x80)
    ends = ends[: len(ends) // 2 * 2]
    if tag_bytes != 1 or not len(ends):
        raise BundleRejected(f"compiled model: {what}: a number is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    same = (lengths[::2] == 1) & (raw[starts[::2]] == raw[0])
    count = len(same) if same.all() else int(np.argmin(same))
    numbers = _decoded(raw, starts[1::2][:count], lengths[1::2][:count], what)
    return numbers, start + int(ends[2 * count - 1]) + 1


def _floats(content: bytes, start: int, tag_bytes: int, what: str) -> tuple[npt.NDArray[np.float32], int]:
    raw = np.frombuffer(content, np.uint8)[start:]
    whole = raw[: len(raw) // 5 * 5].reshape(-1, 5)
    if tag_bytes != 1 or not len(whole):
        raise BundleRejected(f"compiled model: {what}: a number is cut off")
    same = whole[:, 0] == raw[0]
    count = len(same) if same.all() else int(np.argmin(same))
    return np.ascontiguousarray(whole[:count, 1:]).view("<f4").reshape(-1), start + 5 * count


def _decoded(raw: Bytes, starts: npt.NDArray[Any], lengths: npt.NDArray[Any], what: str) -> npt.NDArray[np.int64]:
    if len(lengths) and int(lengths.max()) > MAXIMUM_VARINT_BYTES:
        raise BundleRejected(f"compiled model: {what}: a number has more than {MAXIMUM_VARINT_BYTES} bytes")
    values = np.zeros(len(starts), np.uint64)
    for index in range(int(lengths.max()) if len(lengths) else 0):
        there = lengths > index
        part = raw[starts[there] + index].astype(np.uint64) & np.uint64(0x7F)
        values[there] |= part << np.uint64(7 * index)
    return values.view(np.int64)
