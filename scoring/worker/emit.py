"""Emit: the bytes of predictions and dead letters. Records are put together from fragments, not from objects."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import isnan
from typing import TypeGuard

import msgspec
from confluent_kafka import Message

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import from_epoch_s, rfc3339
from scoring.contract.dead_letter import REFERENCE_HEADER, DeadLetter, Reason, record_size_bytes, refer
from scoring.contract.encoder import Columns, Floats
from scoring.contract.features import FieldType
from scoring.contract.manifest import Manifest
from scoring.contract.prediction import CORRELATION_HEADERS
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
from scoring.kafka import UNREADABLE, RecordHeaders, headers_of

_encode = msgspec.json.Encoder().encode


class Output(msgspec.Struct, frozen=True):
    """One record to be produced."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders | None


class Origin(msgspec.Struct, frozen=True):
    """Where a batch's records come from: topic, its id, and per record partition and offset."""

    topic: str
    topic_id: str
    partitions: Sequence[int]
    offsets: Sequence[int]

    def position(self, index: int) -> Position:
        """Where the record at ``index`` of the batch stands."""
        return Position(
            topic=self.topic, topic_id=self.topic_id, partition=self.partitions[index], offset=self.offsets[index]
        )


class Emitter:
    """Writes the predictions and dead letters of one version of a model."""

    def __init__(self, manifest: Manifest, *, version: str, sequence: int, digest: str) -> None:
        self._manifest = manifest
        self._version = version
        self._sequence = sequence
        lineage = {"model": manifest.model, "version": version, "sequence": sequence, "manifest_digest": digest}
        self._lineage = msgspec.json.encode(lineage)[:-1]
        types = manifest.schema.column_types()
        self._event_time = manifest.schema.event_time
        self._pass_through = [(name, name, _to_json(types[name])) for name in manifest.pass_through]
        self._lookups = [
            (lookup.name, [(field.name, f"{lookup.name}.{field.name}", _looked_up) for field in lookup.fields])
            for lookup in manifest.schema.lookups
        ]

    def predictions(
        self,
        columns: Columns,
        scores: Floats,
        decisions: Sequence[bool] | None,
        origin: Origin,
        rows: Sequence[int],
        scored_at: datetime,
    ) -> list[bytes]:
        """The values of the predictions of the records at ``rows`` of the batch; columns have one entry per row."""
        head = self._lineage + b',"scored_at":"%b"' % rfc3339(scored_at).encode()
        place = msgspec.json.encode({"topic": origin.topic, "topic_id": origin.topic_id})[:-1]
        decided = [b"null"] * len(rows) if decisions is None else [b"true" if d else b"false" for d in decisions]
        return [
            b'%b,"score":%b,"decision":%b,"event_time":%b,"input":%b,"partition":%d,"offset":%d}%b}'
            % (head, score, decision, time, place, origin.partitions[row], origin.offsets[row], rest)
            for score, decision, time, row, rest in zip(
                _numbers(scores), decided, self._event_times(columns), rows, self._rest(columns, len(rows)), strict=True
            )
        ]

    def dead_letter(self, message: Message, position: Position, reason: Reason, detail: str, at: datetime) -> Output:
        """The dead letter of a record: key, value and headers verbatim, what Baton adds behind them (protocol B.8)."""
        letter = DeadLetter(
            reason=reason,
            detail=detail,
            origin=position,
            at=at,
            model=self._manifest.model,
            version=self._version,
            sequence=self._sequence,
        )
        key, value = message.key(), message.value()
        own = headers_of(message)
        headers: RecordHeaders = [*own, *letter.headers()]
        if UNREADABLE in own or record_size_bytes(key, value, headers) > OUTPUT_MAXIMUM_BYTES:
            key, value, headers = None, refer(position, value), [*letter.headers(), (REFERENCE_HEADER, b"1")]
        return Output(self._manifest.topics.dead_letters, position.partition, key, value, headers)

    def prediction(self, message: Message, partition: int, value: bytes) -> Output | None:
        """The record of a prediction; None where it does not fit into its topic."""
        key, headers = message.key(), correlation_headers(message)
        maybe_large = headers or len(value) + len(key or b"") > OUTPUT_MAXIMUM_BYTES // 2
        if maybe_large and record_size_bytes(key, value, headers or ()) > OUTPUT_MAXIMUM_BYTES:
            return None
        return Output(self._manifest.topics.predictions, partition, key, value, headers)

    def _event_times(self, columns: Columns) -> list[bytes]:
        return _split([from_epoch_s(float(seconds)) for seconds in columns[self._event_time]])  # type: ignore[arg-type]

    def _rest(self, columns: Columns, rows: int) -> Iterable[bytes]:
        parts: list[list[bytes]] = []
        if self._pass_through:
            documents = _documents(columns, self._pass_through)
            parts.append([b',"pass_through":' + line for line in _lines(documents)])
        if self._lookups:
            names = [name for name, _ in self._lookups]
            columns_of = [_documents(columns, fields) for _, fields in self._lookups]
            documents = [dict(zip(names, found, strict=True)) for found in zip(*columns_of, strict=True)]
            parts.append([b',"lookups":' + line for line in _lines(documents)])
        return map(b"".join, zip(*parts, strict=True)) if parts else [b""] * rows


def correlation_headers(message: Message) -> RecordHeaders | None:
    """The headers of a record that its answer repeats."""
    headers = headers_of(message)
    return [(name, value) for name, value in headers if name.lower() in CORRELATION_HEADERS] or None


Converter = Callable[[object], object]


def _documents(columns: Columns, fields: Sequence[tuple[str, str, Converter]]) -> list[dict[str, object]]:
    names = [name for name, _, _ in fields]
    converted = [
        [convert(value) for value in (column if isinstance(column, list) else column.tolist())]  # type: ignore[union-attr]
        for column, convert in ((columns[column], convert) for _, column, convert in fields)
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*converted, strict=True)]


def _lines(documents: Sequence[object]) -> list[bytes]:
    return [_encode(document) for document in documents]


def _split(values: Sequence[object]) -> list[bytes]:
    """Each value's JSON, for values whose JSON has no comma."""
    return msgspec.json.encode(values)[1:-1].split(b",") if values else []


def _numbers(scores: Floats) -> list[bytes]:
    return _split(scores.tolist())


def _to_json(field_type: FieldType) -> Converter:
    match field_type:
        case FieldType.TIME:
            return lambda value: from_epoch_s(value) if _present(value) else None
        case FieldType.BOOLEAN:
            return lambda value: bool(value) if _present(value) else None
        case FieldType.NUMBER:
            return lambda value: int(value) if isinstance(value, float) and value.is_integer() else value
        case FieldType.STRING:
            return lambda value: value


def _present(value: object) -> TypeGuard[float]:
    return isinstance(value, float) and not isnan(value)


def _looked_up(value: object) -> object:
    return value
