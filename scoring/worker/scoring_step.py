"""Decode, enrich, encode and score one model's records of a micro-batch; whatever cannot be scored fails alone."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import msgspec
import numpy as np
from confluent_kafka import Message

from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Columns, Floats
from scoring.lookups.port import LookupSource
from scoring.scorer.decode import Decoded, Failure
from scoring.scorer.scorer import Scorer, finite
from scoring.worker.emit import Origin, Output
from scoring.worker.halving import halved
from scoring.worker.metrics import DECODE, EMIT, LOOK_UP
from scoring.worker.models import Active
from scoring.worker.screening import answered, screened


class Scored(msgspec.Struct, frozen=True):
    """What became of the records of a batch.

    Attributes:
        columns: of those that were scored, looked-up ones included, each of length ``len(rows)``.
        rows: for each row of the columns, the record's place in the batch.
        scores: of shape (rows,), or of several classes (rows, classes).
        decided: the decisions; None where there is no threshold.
        failures: the records that have no score, or none that is a number; those are among the rows as well.
    """

    columns: Columns
    rows: list[int]
    scores: Floats
    decided: list[bool] | None
    failures: list[Failure]


def scored(scorer: Scorer, decoded: Decoded, lookups: LookupSource) -> Scored:
    """Enrich, encode and score what decoded.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now; the records have to wait.
    """
    fields, count, schema = decoded.columns, len(decoded.rows), scorer.schema
    looked_up = {**lookups.resolve(schema, fields, count), **scorer.frozen(fields, count)}
    decoded = answered(decoded, looked_up, schema)
    columns, rows = decoded.columns, decoded.rows
    scorer.lap(LOOK_UP)
    scores = scorer.score(columns, len(rows))
    decisions = scorer.decide(scores)
    wrong = [
        Failure(rows[place], Reason.UNSCORABLE, "its score is not a finite number")
        for place in np.flatnonzero(~finite(scores)).tolist()
    ]
    return Scored(columns, rows, scores, None if decisions is None else decisions.tolist(), decoded.failures + wrong)


def outputs_of(
    active: Active, messages: Sequence[Message], topic_id: str, lookups: LookupSource, at: datetime
) -> list[Output]:
    """Exactly one output per record, in the order of the records: a prediction or a dead letter.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now; the records have to wait.
    """

    def condemned(message: Message, detail: str) -> Output:
        position = _origin(active, [message], topic_id).position(0)
        return active.emitter.dead_letter(message, position, Reason.UNSCORABLE, detail, at)

    return halved(messages, lambda part: _outputs(active, part, topic_id, lookups, at), condemned, model=active.model)


def _outputs(
    active: Active, messages: Sequence[Message], topic_id: str, lookups: LookupSource, at: datetime
) -> list[Output]:
    scorer, emitter = active.scorer, active.emitter
    decoded = screened(scorer.decode([message.value() for message in messages]), messages, scorer.schema)
    scorer.lap(DECODE)
    found = scored(scorer, decoded, lookups)
    rows, failures = found.rows, found.failures
    origin = _origin(active, messages, topic_id)
    predicted = emitter.predictions(found.columns, found.scores, found.decided, origin, rows, at)
    if len(rows) == len(messages) and not failures:
        emitted = emitter.records(messages, origin.partitions, predicted)
        if None not in emitted:
            scorer.lap(EMIT)
            return cast("list[Output]", emitted)
    else:
        emitted = emitter.records([messages[row] for row in rows], [origin.partitions[row] for row in rows], predicted)
    outputs: list[Output | None] = [None] * len(messages)
    for row, output in zip(rows, emitted, strict=True):
        outputs[row] = output
        if output is None:
            failures.append(Failure(row, Reason.TOO_LARGE, "its prediction would be too large for the topic"))
    for failure in failures:
        index, position = failure.index, origin.position(failure.index)
        outputs[index] = emitter.dead_letter(messages[index], position, failure.reason, failure.detail, at)
    scorer.lap(EMIT)
    return [output for output in outputs if output is not None]


def _origin(active: Active, messages: Sequence[Message], topic_id: str) -> Origin:
    return Origin(
        topic=active.topics.input,
        topic_id=topic_id,
        # What was consumed without an error has both.
        partitions=cast("list[int]", [message.partition() for message in messages]),
        offsets=cast("list[int]", [message.offset() for message in messages]),
    )
