"""Rows of the sources as records: what would have become of each, had it come as a message.

A row whose columns are plainly those of a record stays columns. The others, which lack something or hold something odd,
go through the decoder as the message that they would have been, so that they fail for the reason, and in the words, in
which a worker would have refused them.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema, FieldType
from scoring.contract.message import encode_message
from scoring.contract.records import Answer
from scoring.scorer.decode import EARLIEST_S, END_S, Decoded
from scoring.scorer.scorer import Scorer
from scoring.scorer.shape import Fault

Mask = npt.NDArray[np.bool_]
# What a field takes in a message at most beside its name and its text: quotes, colon, comma, a number or a time.
_ROOM_BYTES = 48
# A character is at most so many bytes in JSON: an escape.
_CHARACTER_BYTES = 6


def as_records(scorer: Scorer, columns: Columns) -> Decoded:
    """The rows that are records, by their places, and the failures."""
    schema = scorer.schema
    fields = {field.name: _plain(field.type, columns[field.name]) for field in schema.fields}
    count = len(fields[schema.event_time])
    whole = Decoded(fields, list(range(count)), [])
    return whole.without(_faults(scorer, fields, np.flatnonzero(_odd(schema, fields, count)).tolist()))


def _plain(kind: FieldType, column: Column) -> Column:
    """A message tells no 0.0 from -0.0."""
    return np.asarray(column, dtype=np.float64) + 0.0 if kind is not FieldType.STRING else column


def _faults(scorer: Scorer, fields: Columns, places: list[int]) -> dict[int, Fault]:
    """What the decoder says of rows as messages, by their places."""
    faults: dict[int, Fault] = {}
    messages: list[bytes] = []
    written: list[int] = []
    for place in places:
        try:
            messages.append(encode_message(scorer.schema.fields, {name: fields[name][place] for name in fields}))
            written.append(place)
        except (OverflowError, ValueError) as error:  # a time beyond the calendar, half of a surrogate pair
            faults[place] = Reason.WRONG_TYPE, f"it cannot be written as JSON: {type(error).__name__}", None
    for failure in scorer.decode(messages).failures:
        faults[written[failure.index]] = failure.reason, failure.detail, failure.field
    return faults


def _odd(schema: FeatureSchema, fields: Columns, count: int) -> Mask:
    found = np.zeros(count, dtype=bool)
    for field in schema.fields:
        column = fields[field.name]
        if field.required:
            found |= _missing(column)
        if field.type is FieldType.TIME:
            times = np.asarray(column, dtype=np.float64)
            found |= (times < EARLIEST_S) | (times >= END_S)
    for mask in _odd_texts(schema, fields, count):
        found |= mask
    return found


def _missing(column: Column) -> Mask:
    if isinstance(column, np.ndarray):
        return np.isnan(column)
    if None not in column:
        return np.zeros(len(column), dtype=bool)
    return np.fromiter((value is None for value in column), np.bool_, len(column))


def _odd_texts(schema: FeatureSchema, fields: Columns, count: int) -> Iterator[Mask]:
    """Rows with texts that no message can hold, or that a rule may forbid."""
    rules, sizes = schema.records, np.full(count, sum(len(field.name) + _ROOM_BYTES for field in schema.fields))
    for field in schema.fields:
        if field.type is not FieldType.STRING:
            continue
        texts: list[str] = [text or "" for text in fields[field.name]]
        lengths = np.fromiter(map(len, texts), np.int64, count)
        sizes += lengths * _CHARACTER_BYTES
        if rules.maximum_text_characters is not None:
            yield lengths > rules.maximum_text_characters
        yield from _odd_characters(texts, nulls=rules.null_characters is Answer.DEAD_LETTER)
    if rules.maximum_value_bytes is not None:
        yield sizes > rules.maximum_value_bytes


def _odd_characters(texts: list[str], *, nulls: bool) -> Iterator[Mask]:
    """All texts are looked at as one, which is quick; where that finds something, one by one."""
    whole = "".join(texts)
    if nulls and "\0" in whole:
        yield np.fromiter(("\0" in text for text in texts), np.bool_, len(texts))
    if not _is_unicode(whole):
        yield np.fromiter((not _is_unicode(text) for text in texts), np.bool_, len(texts))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
