"""Decode, enrich, encode and score one model's records of a micro-batch; whatever cannot be scored fails alone."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import numpy as np
import structlog
from confluent_kafka import Message

from scoring.contract.dead_letter import Reason
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.lookups.port import LookupSource
from scoring.scorer.decode import Failure
from scoring.scorer.scorer import finite
from scoring.worker.emit import Origin, Output
from scoring.worker.metrics import DECODE, EMIT, LOOK_UP
from scoring.worker.models import Active
from scoring.worker.screening import answered, screened

log = structlog.get_logger()


def outputs_of(
    active: Active, messages: Sequence[Message], topic_id: str, lookups: LookupSource, at: datetime
) -> list[Output]:
    """Exactly one output per record, in the order of the records: a prediction or a dead letter.

    When the batch fails as a whole it is halved until the culprit is found; the culprit becomes a dead letter.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now; the records have to wait.
    """
    try:
        return _outputs(active, messages, topic_id, lookups, at)
    except (Unavailable, ConfigurationError):  # not the records' fault: as dead letters they would drain the topic
        raise
    except (MemoryError, OSError) as error:  # nor is this host's distress
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # whatever a record makes the model or a library raise condemns that record only
        if len(messages) > 1:
            middle = len(messages) // 2
            left = outputs_of(active, messages[:middle], topic_id, lookups, at)
            return left + outputs_of(active, messages[middle:], topic_id, lookups, at)
        log.warning("record.unscorable", model=active.model, error=type(error).__name__)
        position = _origin(active, messages, topic_id).position(0)
        detail = f"the model failed on it: {type(error).__name__}"
        return [active.emitter.dead_letter(messages[0], position, Reason.UNSCORABLE, detail, at)]


def _outputs(
    active: Active, messages: Sequence[Message], topic_id: str, lookups: LookupSource, at: datetime
) -> list[Output]:
    scorer, emitter = active.scorer, active.emitter
    schema = scorer.schema
    decoded = screened(scorer.decode([message.value() for message in messages]), messages, schema)
    scorer.lap(DECODE)
    fields, count = decoded.columns, len(decoded.rows)
    looked_up = {**lookups.resolve(schema, fields, count), **scorer.frozen(fields, count)}
    decoded = answered(decoded, looked_up, schema)
    columns, rows, failures = decoded.columns, decoded.rows, list(decoded.failures)
    scorer.lap(LOOK_UP)
    scores = scorer.score(columns, len(rows))
    decisions = scorer.decide(scores)
    decided = None if decisions is None else decisions.tolist()
    failures += [
        Failure(rows[place], Reason.UNSCORABLE, "its score is not a finite number")
        for place in np.flatnonzero(~finite(scores)).tolist()
    ]
    origin = _origin(active, messages, topic_id)
    predicted = emitter.predictions(columns, scores, decided, origin, rows, at)
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
