"""The shape of records' JSON: keys that come twice, fields that nobody declared, nesting, text that is no UTF-8.

A typed decoder does not tell: it takes the last of two keys and skips what it was not asked for. To ask again of every
record would cost more than to decode it. So a whole micro-batch is looked at as one array of bytes first, and only the
records that this does not clear are looked at by themselves.

The array clears a batch by counting. A colon behind a quotation mark or white space may end a key; every colon that
does is counted, and some within text are. A record has at least as many keys as declared fields were found in it. So
when the counts are equal every key is a declared field, and none is there twice.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.dead_letter import Reason
from scoring.contract.records import Answer, RecordRules
from scoring.scorer.blame import shown_name

Counts = npt.NDArray[np.int64]
# The reason, the sentence, and the field that it is about: None where it is the whole record.
Fault = tuple[Reason, str, str | None]
_Marks = npt.NDArray[np.bool_]

NO_TEXT = Reason.MALFORMED_JSON, "it is not UTF-8", None
_QUOTE, _COLON, _SPACE, _BRACE, _CLOSING_BRACE = b'": {}'
_LOWER = 0x20  # the bit in which "[" and "{" differ, and "]" and "}"
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_KEY_END = re.compile(rb'["\x00- ]:')
_FEW_BYTES = 2_048
_PIECE_BYTES = 65_536
_any = msgspec.json.Decoder().decode


class Shapes:
    """Looks at the JSON of records that decoded.

    Args:
        declared: names of the declared fields.
    """

    def __init__(self, declared: Sequence[str], rules: RecordRules) -> None:
        self._declared = frozenset(declared)
        self._repeated = rules.repeated_keys == Answer.DEAD_LETTER
        self._unknown = rules.unknown_fields == Answer.DEAD_LETTER
        self._depth = rules.maximum_depth
        self.counts = self._repeated or self._unknown

    def faults(self, values: Sequence[bytes], whole: bytes, absent: Counts | None) -> dict[int, Fault]:
        """What is wrong, by the record's place; the first fault of each.

        Args:
            whole: the values, joined.
            absent: for each record how many of the declared fields are not in it; None where all are in all.
        """
        found: dict[int, Fault] = {}
        if not whole.isascii():
            found.update((place, NO_TEXT) for place, value in enumerate(values) if not _is_text(value))
        if not values or (self._depth is None and not self.counts):
            return found
        if self.counts and _count_key_ends(whole) == self._least(len(values), absent):
            return found  # what is declared is never nested
        if self._depth is not None:
            found = {**self._too_deep(values, whole, self._depth), **found}
        if self.counts:
            found = {**self._odd_keys(values, whole, absent, found), **found}
        return found

    def _too_deep(self, values: Sequence[bytes], whole: bytes, limit: int) -> dict[int, Fault]:
        if whole.count(b"{") + whole.count(b"[") <= len(values) + limit - 1:  # each has one
            return {}
        fault = Reason.TOO_DEEP, f"it is nested more than {limit} times", None
        opening = (np.frombuffer(whole, np.uint8) | _LOWER) == _BRACE
        suspects = np.flatnonzero(_each(opening, values) > limit).tolist()
        return {place: fault for place in suspects if depth_of(values[place]) > limit}

    def _odd_keys(
        self, values: Sequence[bytes], whole: bytes, absent: Counts | None, known: Mapping[int, Fault]
    ) -> dict[int, Fault]:
        declared = len(self._declared)
        content = np.frombuffer(whole, np.uint8)
        keys = _each(_key_ends(content), values)
        suspects = np.flatnonzero(keys != (declared if absent is None else declared - absent)).tolist()
        odd = ((place, self._odd(values[place], int(keys[place]))) for place in suspects if place not in known)
        return {place: fault for place, fault in odd if fault is not None}

    def _least(self, records: int, absent: Counts | None) -> int:
        """How many keys there are where every key is a declared field and none is there twice."""
        return len(self._declared) * records - (0 if absent is None else int(absent.sum()))

    def _odd(self, value: bytes, keys: int) -> Fault | None:
        """What is wrong with a record that has at most so many keys, asked of the record itself."""
        try:
            record = _any(value)
            counted = not self._repeated or keys == len(record) or keys == _keys(record)
            if not counted and (twice := repeated_key(value)) is not None:
                return _repeated(twice)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # ignored content that nobody else can read either
            return self._odd_slowly(value)
        return _unknown(self._undeclared(record)) if self._unknown and not self._declared.issuperset(record) else None

    def _odd_slowly(self, value: bytes) -> Fault | None:
        try:
            twice = repeated_key(value) if self._repeated else None
        except RecursionError:
            return Reason.TOO_DEEP, "it is nested too deeply to be read", None
        except ValueError:
            return Reason.MALFORMED_JSON, "what is ignored in it is not JSON", None
        if twice is not None:
            return _repeated(twice)
        return self._unknown_slowly(value) if self._unknown else None  # every declared field could be read

    def _unknown_slowly(self, value: bytes) -> Fault:
        try:
            return _unknown(self._undeclared(_read(value, dict)))
        except (ValueError, RecursionError):  # keys that nobody can read
            return _unknown(None)

    def _undeclared(self, record: Iterable[str]) -> str | None:
        """The first key that is none of the declared fields."""
        return next((key for key in record if key not in self._declared), None)


def _repeated(key: str) -> Fault:
    return Reason.REPEATED_KEY, "a key is there twice", shown_name(key)


def _unknown(key: str | None) -> Fault:
    return Reason.UNKNOWN_FIELD, "there is a field that is not declared", None if key is None else shown_name(key)


def _count_key_ends(whole: bytes) -> int:
    if len(whole) < _FEW_BYTES:  # a record or two: numpy's calls would take longer
        return len(_KEY_END.findall(whole))
    content = np.frombuffer(whole, np.uint8)
    # Piece by piece: what is worked out in between stays in the processor's cache.
    pieces = (content[start : start + _PIECE_BYTES] for start in range(0, len(content), _PIECE_BYTES - 1))
    return sum(int(np.count_nonzero(_key_ends(piece))) for piece in pieces)


def _key_ends(content: npt.NDArray[np.uint8]) -> _Marks:
    """Colons that may end a key; one shorter, for nothing can begin with one."""
    before = content[:-1]
    ends: _Marks = (content[1:] == _COLON) & ((before == _QUOTE) | (before <= _SPACE))
    return ends


def _each(marks: _Marks, values: Sequence[bytes]) -> Counts:
    """How many marks each record has."""
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
    return np.diff(np.searchsorted(np.flatnonzero(marks), ends), prepend=0)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _keys(document: Any) -> int:
    """How many keys the objects of a document have, at all depths."""
    if isinstance(document, dict):
        return len(document) + sum(_keys(part) for part in document.values() if isinstance(part, dict | list))
    return sum(_keys(part) for part in document if isinstance(part, dict | list))


class _RepeatedKey(Exception):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


def repeated_key(value: bytes) -> str | None:
    """A key that an object in a JSON document has twice, at any depth, escapes resolved; None where there is none.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        _read(value, _unique)
    except _RepeatedKey as found:
        return found.key
    return None


def _read(value: bytes, of_pairs: Callable[[list[tuple[str, object]]], dict[str, object]]) -> Any:
    """What stands in a document, as tolerantly as can be; numbers may be of any size."""
    return json.loads(value, object_pairs_hook=of_pairs, parse_int=len, parse_float=len, strict=False)


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        # ``add`` returns None: the first key that was seen before is found in one pass, however many there are.
        raise _RepeatedKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def depth_of(value: bytes) -> int:
    """How deeply objects and arrays of a JSON document are nested; nothing recurses."""
    bare = np.frombuffer(_TEXT.sub(b" ", value), np.uint8) | _LOWER
    steps = (bare == _BRACE).astype(np.int64) - (bare == _CLOSING_BRACE)
    return int(np.cumsum(steps).max(initial=0))
