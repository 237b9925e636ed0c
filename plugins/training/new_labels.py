"""How many labels are new: counted in the source, which is what a run would learn from.

Messages that tell of labels can come twice, or never; a row is there or it is not. Counting needs nobody to send
anything, and works for every source that can be pulled.
"""

from datetime import datetime

import numpy as np

from scoring.contract.manifest import Source
from scoring.lookups.database import Engines
from scoring.promotion.ledger import Ledger
from scoring.settings import Settings
from scoring.sources.port import Pull
from scoring.sources.sql import read_columns
from training.definition import ModelDefinition
from training.pull import column_types
from training.rows import missing
from training.wake import Covered


def new_labels(definition: ModelDefinition, settings: Settings, covered: Covered | None, now: datetime) -> int:
    """How many usable rows (with a label and every required field) became known since a run last looked.

    That is since the end of the champion's data, or of the last run that an event started where that is later: a
    candidate that was refused is not trained again from the same rows.

    Raises:
        Unavailable: ledger or source cannot be reached.
        ConfigurationError: a person has to change something about them.
    """
    since = _known_before(definition, settings, covered, now)
    return 0 if since >= now else _count(definition, settings, since, now)


def _known_before(definition: ModelDefinition, settings: Settings, covered: Covered | None, now: datetime) -> datetime:
    head = Ledger.open(settings.need_ledger_url()).head(definition.name)
    since = definition.history.before(now) if head is None else head.interval.end
    return since if covered is None else max(since, covered.until)


def _count(definition: ModelDefinition, settings: Settings, since: datetime, now: datetime) -> int:
    delay, label = definition.label.known_after, definition.label.column
    needed = [field.name for field in definition.known_fields if field.required]
    names = dict.fromkeys([definition.event_time, *needed, label])
    source = Source(
        connection=definition.source.connection,
        table=definition.source.table,
        columns=tuple((name, definition.source.column(name)) for name in names),
    )
    pull = Pull(
        source=source,
        kinds=column_types(definition),
        event_time=definition.event_time,
        start=since - delay,
        end=now - delay,
    )
    engines = Engines(settings.need_connection)
    try:
        columns = read_columns(engines, pull)
    finally:
        engines.close()
    lacking = [missing(columns[name]) for name in names]
    return int((~np.logical_or.reduce(lacking)).sum())
