"""Emit: the bytes of predictions and dead letters. Records are put together from fragments, not from objects."""

from collections.abc import Sequence
from datetime import datetime
from itertools import repeat

import msgspec
import numpy as np
from confluent_kafka import Message

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import rfc3339
from scoring.contract.dead_letter import REFERENCE_HEADER, DeadLetter, Reason, record_size_bytes, refer
from scoring.contract.encoder import Columns, Floats
from scoring.contract.features import FrozenLookup
from scoring.contract.manifest import Manifest
from scoring.contract.prediction import CORRELATION_HEADERS
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
from scoring.kafka import UNREADABLE, RecordHeaders, headers_of, headers_of_all
from scoring.worker import json_columns
from scoring.worker.json_columns import Writer
from scoring.worker.weave import Pattern

_encode = msgspec.json.Encoder().encode


class Output(msgspec.Struct, frozen=True, gc=False):
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
    """Writes the predictions and dead letters of one version of a model.

    Attributes:
        lineage: the JSON object that names the version, without its closing brace.
    """

    def __init__(self, manifest: Manifest, *, version: str, sequence: int, digest: str) -> None:
        self._manifest = manifest
        self._version = version
        self._sequence = sequence
        lineage = {"model": manifest.model, "version": version, "sequence": sequence, "manifest_digest": digest}
        self.lineage = msgspec.json.encode(lineage)[:-1]
        types = manifest.schema.column_types()
        self._event_time = manifest.schema.event_time
        self._pass_through = [(name, name, json_columns.writer(types[name])) for name in manifest.pass_through]
        self._classes = [(_encode(name), _encode(name) + b":") for name in manifest.output.classes]
        self._lookups = [
            (lookup.name, [(field.name, f"{lookup.name}.{field.name}", json_columns.values) for field in lookup.fields])
            for lookup in manifest.schema.lookups
            if not isinstance(lookup, FrozenLookup)  # the bundle holds what those say
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
        """The values of the predictions of the records at ``rows`` of the batch; columns have one entry per row.

        Args:
            scores: of shape (rows,), or of several classes (rows, classes).
        """
        whole = len(rows) == len(origin.offsets)
        found = Pattern(self.lineage + b',"scored_at":"%b",' % rfc3339(scored_at).encode())
        self._add_judgement(found, columns, scores, decisions)
        found.text(b',"input":')
        place = msgspec.json.encode({"topic": origin.topic, "topic_id": origin.topic_id})[:-1]
        found.text(place + b',"partition":')
        found.column(json_columns.values(origin.partitions if whole else [origin.partitions[row] for row in rows]))
        found.text(b',"offset":')
        found.column(json_columns.values(origin.offsets if whole else [origin.offsets[row] for row in rows]))
        found.text(b"}")
        self._add_carried(found, columns)
        found.text(b"}")
        return found.woven(len(rows))

    def answers(self, columns: Columns, scores: Floats, decisions: Sequence[bool] | None) -> list[bytes]:
        """What a request is told of its records: their predictions, but for the lineage and a place in a topic.

        Args: see ``predictions``; of the columns each row is one record.
        """
        found = Pattern(b"{")
        self._add_judgement(found, columns, scores, decisions)
        self._add_carried(found, columns)
        found.text(b"}")
        return found.woven(len(scores))

    def _add_judgement(
        self, found: Pattern, columns: Columns, scores: Floats, decisions: Sequence[bool] | None
    ) -> None:
        """Score, decision and event time."""
        found.text(b'"score":')
        self._add_scores(found, scores)
        found.text(b',"decision":')
        if decisions is None:
            found.text(b"null")
        else:
            found.column(json_columns.values(decisions))
        found.text(b',"event_time":')
        found.column(json_columns.times(columns[self._event_time]))

    def _add_scores(self, found: Pattern, scores: Floats) -> None:
        """The score; of several classes that of the most probable one, its name, and all of them by their names."""
        if not self._classes:
            found.column(json_columns.values(scores))
            return
        chosen = scores.argmax(axis=1)
        found.column(json_columns.values(scores[np.arange(len(scores)), chosen]))
        found.text(b',"label":')
        found.column(json_columns.lines([self._classes[place][0] for place in chosen.tolist()]))
        found.text(b',"probabilities":')
        for place, (_, name) in enumerate(self._classes):
            found.text((b"," if place else b"{") + name)
            found.column(json_columns.values(scores[:, place]))
        found.text(b"}")

    def _add_carried(self, found: Pattern, columns: Columns) -> None:
        """What a prediction repeats of its record, and what was looked up for it."""
        if self._pass_through:
            found.text(b',"pass_through":')
            _add_document(found, self._pass_through, columns)
        if self._lookups:
            found.text(b',"lookups":')
            for number, (name, fields) in enumerate(self._lookups):
                found.text((b"," if number else b"{") + _encode(name) + b":")
                _add_document(found, fields, columns)
            found.text(b"}")

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

    def records(
        self, messages: Sequence[Message], partitions: Sequence[int], predicted: Sequence[bytes]
    ) -> list[Output | None]:
        """The records of the predictions of these messages; None where one does not fit into its topic."""
        keys = [message.key() for message in messages]
        headers = [repeated(own) if own else None for own in headers_of_all(messages)]
        topic = self._manifest.topics.predictions
        outputs: list[Output | None] = list(map(Output, repeat(topic), partitions, keys, predicted, headers))
        largest = max(map(len, predicted), default=0) + max((len(key) for key in keys if key), default=0)
        if largest > OUTPUT_MAXIMUM_BYTES // 2 or any(headers):
            for place, output in enumerate(outputs):
                if output and record_size_bytes(output.key, output.value, output.headers or ()) > OUTPUT_MAXIMUM_BYTES:
                    outputs[place] = None
        return outputs


def repeated(headers: RecordHeaders) -> RecordHeaders | None:
    """Those of a record's headers that its answer repeats."""
    return [(name, value) for name, value in headers if name.lower() in CORRELATION_HEADERS] or None


def _add_document(found: Pattern, fields: Sequence[tuple[str, str, Writer]], columns: Columns) -> None:
    """An object of columns; each field: name, column, writer."""
    found.text(b"{")
    for number, (name, column, write) in enumerate(fields):
        found.text((b"," if number else b"") + _encode(name) + b":")
        found.column(write(columns[column]))
    found.text(b"}")
