"""Sorts records into rows of their tables. What cannot be read is kept, too, with the reason."""

from collections.abc import Callable
from datetime import datetime

import structlog
from confluent_kafka import Message

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import from_epoch_ms
from scoring.contract.errors import ContractError
from scoring.kafka import headers_of
from scoring.predictions.rows import (
    DeadLetterRow,
    PredictionRow,
    UnreadableRow,
    dead_letter_row,
    prediction_row,
    unreadable_row,
)
from scoring.predictions.stored import Record
from scoring.sink.feeds import Kind

Row = PredictionRow | DeadLetterRow | UnreadableRow
_READERS: dict[Kind, Callable[[Record], Row]] = {
    Kind.PREDICTIONS: prediction_row,
    Kind.DEAD_LETTERS: dead_letter_row,
}
log = structlog.get_logger()


def record_of(message: Message, topic_id: str) -> Record:
    """A record as the client gave it."""
    return Record(
        place=Position(
            topic=message.topic() or "",
            topic_id=topic_id,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
        ),
        key=message.key(),
        value=message.value(),
        headers=tuple(headers_of(message)),
        recorded_at=recorded_at(message),
    )


def recorded_at(message: Message) -> datetime | None:
    """A record's timestamp; None where it has none, or one that is no date."""
    kind, moment_ms = message.timestamp()
    try:
        return None if kind == 0 or moment_ms < 0 else from_epoch_ms(moment_ms)
    except OverflowError:
        return None


def row_of(record: Record, kind: Kind) -> Row:
    """The row of a record of a topic of that kind."""
    try:
        return _READERS[kind](record)
    except ContractError as error:
        return kept_aside(record, str(error))
    except Exception as error:  # whatever it was, it must not keep all that follow from their tables
        return kept_aside(record, f"{type(error).__name__}: {error}")


def kept_aside(record: Record, reason: str) -> UnreadableRow:
    """The row of a record that no other table takes."""
    place = record.place
    log.error("record.unreadable", topic=place.topic, partition=place.partition, offset=place.offset)
    return unreadable_row(record, reason)
