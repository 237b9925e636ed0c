"""The output of a chunk: a row for each record that went in, with what came of it. Nothing in it is of the present."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any

import msgspec
import numpy as np

from scoring.backfill.plan import Chunk
from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import BatonError
from scoring.contract.features import FeatureSchema, FieldType, FrozenLookup
from scoring.contract.message import key_text
from scoring.predictions.keys import BASE64, DIGEST, MAXIMUM_KEY_BYTES
from scoring.predictions.keys import key_text as kept_key
from scoring.scorer.scorer import Scorer
from scoring.worker import json_columns
from scoring.worker.scoring_step import Scored
from scoring.worker.weave import Pattern

COLUMNS = (
    "record_key",
    "event_time",
    "score",
    "decision",
    "label",
    "probabilities",
    "pass_through",
    "lookups",
    "reason",
    "detail",
)
"""What differs from row to row; in a chunk of a topic also the record's ``offset``."""
OFFSET = "offset"

_LONGEST_CHARACTER_BYTES = 4
Values = Column | Sequence[Any]
_encode = msgspec.json.Encoder().encode


class RowsLost(BatonError):
    """As many rows must come out as records went in. This is a mistake of Baton's; please report it."""


class Outcomes(msgspec.Struct, frozen=True):
    """The rows of a chunk, column by column, in the order of its records.

    Attributes:
        columns: by the names of ``COLUMNS``; event times are seconds since 1970, missing values None.
        failures: how many rows have a reason instead of a score.
        digest: SHA-256 of all of it, whatever it is kept in.
    """

    chunk: Chunk
    columns: dict[str, list[Any]]
    rows: int
    failures: int
    digest: str


def outcomes(
    chunk: Chunk, scorer: Scorer, parts: Iterable[Scored], known: Mapping[str, Values], count: int
) -> Outcomes:
    """Put the outcomes of a chunk's records together.

    Args:
        known: the key and the event time of every record, also of those that failed, as far as they are known; and
            what else is to stand beside the outcomes.
        count: how many records went in.

    Raises:
        RowsLost: one of them has no outcome, or two.
    """
    rows: dict[str, list[Any]] = {name: [None] * count for name in COLUMNS}
    rows.update({name: _values(column) for name, column in known.items()})
    told = np.zeros(count, dtype=np.int64)
    failures = 0
    for part in parts:
        if part.rows:
            _put_scores(rows, scorer, part)
        told[part.rows] += 1
        for failure in part.failures:
            rows["reason"][failure.index], rows["detail"][failure.index] = failure.reason.value, failure.detail
            told[failure.index] += 1
        failures += len(part.failures)
    if not (told == 1).all():
        raise RowsLost(f"chunk {chunk.number}: of {count} records {int((told != 1).sum())} have no outcome, or two")
    return Outcomes(chunk, rows, count, failures, _digest(chunk, rows))


def known_of(schema: FeatureSchema, columns: Columns) -> dict[str, Values]:
    """The keys as text and the event times of records."""
    kind = {field.name: field.type for field in schema.fields}[schema.key]
    keys = columns[schema.key]
    texts = [_key_text(kind, key) for key in keys.tolist()] if isinstance(keys, np.ndarray) else keys
    return {"record_key": _storable(texts), "event_time": columns[schema.event_time]}


def _storable(keys: Sequence[str | None]) -> list[str | None]:
    """As the tables of predictions hold keys. All are looked at as one: nearly always nothing is wrong with any."""
    there = [key for key in keys if key]
    whole, longest = "\n".join(there), max(map(len, there), default=0)
    odd = "\0" in whole or BASE64 in whole or DIGEST in whole or not _is_unicode(whole)
    if not odd and longest * _LONGEST_CHARACTER_BYTES <= MAXIMUM_KEY_BYTES:
        return [*keys]
    return [None if key is None else kept_key(key.encode("utf-8", "surrogatepass")) for key in keys]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key_text(kind: FieldType, key: float) -> str | None:
    return None if np.isnan(key) else key_text(kind, key)


def _digest(chunk: Chunk, rows: dict[str, list[Any]]) -> str:
    return digest_of(msgspec.json.encode([chunk, rows], order="deterministic"))


def _put_scores(rows: dict[str, list[Any]], scorer: Scorer, part: Scored) -> None:
    places, columns = part.rows, part.columns
    _put(rows["score"], places, _chosen(scorer, part))
    if part.decided is not None:
        _put(rows["decision"], places, part.decided)
    classes = scorer.manifest.output.classes
    if classes:
        _put(rows["label"], places, [classes[place] for place in part.scores.argmax(axis=1).tolist()])
        by_class = [(name, json_columns.values(part.scores[:, place])) for place, name in enumerate(classes)]
        _put(rows["probabilities"], places, _documents(by_class, len(places)))
    kinds = scorer.schema.column_types()
    carried = [(name, json_columns.writer(kinds[name])(columns[name])) for name in scorer.manifest.pass_through]
    if carried:
        _put(rows["pass_through"], places, _documents(carried, len(places)))
    looked_up = _lookups(scorer.schema, columns, len(places))
    if looked_up is not None:
        _put(rows["lookups"], places, looked_up)


def _chosen(scorer: Scorer, part: Scored) -> list[float]:
    """The score, of several classes that of the most probable one."""
    if not scorer.manifest.output.classes:
        found: list[float] = part.scores.tolist()
        return found
    chosen: list[float] = part.scores.max(axis=1).tolist()
    return chosen


def _lookups(schema: FeatureSchema, columns: Columns, count: int) -> list[str] | None:
    """What was looked up, as a prediction has it; None where nothing is that the bundle does not hold."""
    carried = [lookup for lookup in schema.lookups if not isinstance(lookup, FrozenLookup)]
    if not carried:
        return None
    pattern = Pattern(b"{")
    for number, lookup in enumerate(carried):
        pattern.text((b"," if number else b"") + _encode(lookup.name) + b":{")
        fields = [(each.name, json_columns.values(columns[f"{lookup.name}.{each.name}"])) for each in lookup.fields]
        _add_fields(pattern, fields)
        pattern.text(b"}")
    pattern.text(b"}")
    return [document.decode() for document in pattern.woven(count)]


def _documents(fields: Sequence[tuple[str, bytes]], count: int) -> list[str]:
    """An object of these for each row."""
    pattern = Pattern(b"{")
    _add_fields(pattern, fields)
    pattern.text(b"}")
    return [document.decode() for document in pattern.woven(count)]


def _add_fields(pattern: Pattern, fields: Sequence[tuple[str, bytes]]) -> None:
    for number, (name, lines) in enumerate(fields):
        pattern.text((b"," if number else b"") + _encode(name) + b":")
        pattern.column(lines)


def _put(column: list[Any], places: Sequence[int], values: Sequence[Any]) -> None:
    if len(places) == len(column):
        column[:] = values
        return
    for place, value in zip(places, values, strict=True):
        column[place] = value


def _values(column: Values) -> list[Any]:
    """As a list, with None for what is missing."""
    if not isinstance(column, np.ndarray):
        return list(column)
    if not np.isnan(column).any():
        return list(column.tolist())
    return [None if isnan(number) else number for number in column.tolist()]
