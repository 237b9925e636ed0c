"""Input messages from rows of the sources: what a producer at the event would have sent."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
import numpy as np

from scoring.contract.clock import from_epoch_s
from scoring.contract.features import FieldType
from scoring.contract.message import Row, encode_message, key_text
from scoring.settings import Settings
from scoring.sources.joined import assemble, plan
from scoring.sources.open import Sources
from training.definition import ModelDefinition


class Message(msgspec.Struct, frozen=True):
    """One input message.

    Attributes:
        key: the record's key as text in UTF-8.
        value: the JSON document.
    """

    key: bytes
    event_time: datetime
    value: bytes


def messages(definition: ModelDefinition, settings: Settings, start: datetime, end: datetime) -> Iterator[Message]:
    """The messages of the events in ``[start, end)`` in the order of their time, read as they are needed.

    Raises:
        Unavailable: a source cannot be read now.
        ConfigurationError: the connection, the place or a column is unknown.
    """
    fields = definition.known_fields
    kinds = {field.name: field.type for field in fields}
    for row in _rows(definition, kinds, settings, start, end):
        key = key_text(kinds[definition.key], row[definition.key])
        yield Message(key.encode(), from_epoch_s(row[definition.event_time]), encode_message(fields, row))


def _rows(
    definition: ModelDefinition, kinds: Mapping[str, FieldType], settings: Settings, start: datetime, end: datetime
) -> Iterator[Row]:
    """The records in the order of their time; those of several sources are all read first."""
    sources, event_time = definition.manifest_sources, definition.event_time
    pulls = plan(sources, kinds, event_time, start, end)
    with Sources(settings.need_connection) as reader:
        if len(pulls) == 1:
            yield from reader.stream(pulls[0])
            return
        columns = assemble(sources, pulls, [reader.read(pull) for pull in pulls])
    for place in np.argsort(np.asarray(columns[event_time], dtype=np.float64), kind="stable").tolist():
        yield {name: column[place] for name, column in columns.items()}
