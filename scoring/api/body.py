"""The records of a request's body, each as the bytes that it was sent as: the stream's decoder judges them.

What cannot be read as a whole may still hold records that can: ``{"records": [{"x": 1}, {"x": NaN}]}`` is no JSON, yet
its first record is. Then the records are told apart by their brackets, and each is judged by itself; but not in a
large body, since that takes its time.
"""

import re
from collections.abc import Sequence

import msgspec

from scoring.api.problems import Kind, Problem

JSON, LINES = "application/json", "application/x-ndjson"
_FORM = '{"records": [{…}, …]}, or one record a line as application/x-ndjson'
APART_MAXIMUM_BYTES = 2**18


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    records: list[msgspec.Raw]


_NAME = b'"records"'
_decode = msgspec.json.Decoder(_Request).decode
_OPENING = re.compile(rb'\s*\{\s*"records"\s*:\s*\[')
_ANY_OPENING = re.compile(rb'\s*\{\s*"[^"]*"\s*:\s*\[')
_BETWEEN = re.compile(rb"[\s,]*")
_CLOSING = re.compile(rb"\]\s*\}\s*\Z")
# Text, so that nothing in it counts; what opens and closes; what stands between records.
_MARK = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def records_of(body: bytes, media_type: str, limit: int) -> Sequence[bytes]:
    """The records of a body.

    Args:
        media_type: ``application/json``, or ``application/x-ndjson`` for one record a line.

    Raises:
        Problem: it is of another type, of another form, or there are more than ``limit`` records.
    """
    match media_type:
        case "application/json":
            records = _of_document(body)
        case "application/x-ndjson":
            records = _of_lines(body, limit)
        case _:
            raise Problem(Kind.MEDIA_TYPE, f"records come as {JSON} or {LINES}")
    if not records:
        raise Problem(Kind.MALFORMED, f"there is no record; send {_FORM}")
    if len(records) > limit:
        raise too_many(len(records), limit)
    return records


def too_many(count: int, limit: int) -> Problem:
    """A request of more records than there may be."""
    sentence = f"{count} records are too many for one request, BATON_API_REQUEST_RECORDS allows {limit}; send several"
    return Problem(Kind.TOO_LARGE, sentence, limit=limit)


def _of_document(body: bytes) -> Sequence[bytes]:
    try:
        records = [bytes(record) for record in _decode(body).records]
    except msgspec.ValidationError as error:
        raise Problem(Kind.MALFORMED, f"{error}; send {_FORM}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        apart = _apart(body)
        if apart is None:
            raise Problem(Kind.MALFORMED, f"{error}; send {_FORM}") from error
        return apart
    if _named_twice(body, records):
        raise Problem(Kind.MALFORMED, f"`records` is there twice; send {_FORM}")
    return records


def _named_twice(body: bytes, records: Sequence[bytes]) -> bool:
    """Whether there are other records than these, the last ones, which the decoder keeps."""
    named = body.count(_NAME)
    if named > 1 and named > 1 + sum(record.count(_NAME) for record in records):
        return True
    escapes = body.count(b"\\")
    if not escapes or escapes == sum(record.count(b"\\") for record in records):
        return False
    return not _nothing_else(body, records)  # a key is written with an escape


def _nothing_else(body: bytes, records: Sequence[bytes]) -> bool:
    """Whether a document that was decoded is one key and these records."""
    opening = _ANY_OPENING.match(body)
    if opening is None:
        return False
    place = opening.end()
    for record in records:
        place = _BETWEEN.match(body, place).end()  # type: ignore[union-attr]  # it matches nothing too
        if not body.startswith(record, place):
            return False
        place += len(record)
    return _CLOSING.match(body, _BETWEEN.match(body, place).end()) is not None  # type: ignore[union-attr]


def _of_lines(body: bytes, limit: int) -> Sequence[bytes]:
    whole = body.removesuffix(b"\n")
    if (more := whole.count(b"\n")) >= limit:  # before each is taken out
        raise too_many(more + 1, limit)
    return whole.split(b"\n") if body else ()


def _apart(body: bytes) -> list[bytes] | None:
    """Records by their brackets; None where these do not match."""
    if len(body) > APART_MAXIMUM_BYTES:
        return None
    opening, closing = _OPENING.match(body), _CLOSING.search(body)
    if opening is None or closing is None or closing.start() < opening.end():
        return None
    records, depth, start, end = [], 0, opening.end(), closing.start()
    for mark in _MARK.finditer(body, start, end):
        match mark[0]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
            case b"," if depth == 0:
                records.append(body[start : mark.start()].strip(b" \t\r\n"))
                start = mark.end()
        if depth < 0:
            return None
    return [*records, body[start:end].strip(b" \t\r\n")] if depth == 0 else None
