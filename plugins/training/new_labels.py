"""How many labels are new: counted in the source, which is what a run would learn from.

Messages that tell of labels can come twice, or never; a row is there or it is not. Counting needs nobody to send
anything, and works for every source that can be pulled.
"""

from collections.abc import Collection
from datetime import datetime

import msgspec
import numpy as np

from scoring.contract.source import Source
from scoring.promotion.ledger import Ledger
from scoring.settings import Settings
from scoring.sources.joined import assemble, plan
from scoring.sources.open import Sources
from training.definition import ModelDefinition
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
    delay = definition.label.known_after
    needed = {definition.event_time, definition.label.column}
    needed.update(field.name for field in definition.known_fields if field.required)
    matched = {field for each in definition.all_sources if each.join for _, field in each.join.match}
    narrowed = [_narrowed(source, needed if source.join else needed | matched) for source in definition.all_sources]
    sources = [source for source in narrowed if source.columns]
    kinds = {field: definition.source_types[field] for source in sources for field, _ in source.columns}
    pulls = plan(sources, kinds, definition.event_time, since - delay, now - delay, now)
    with Sources(settings.need_connection) as reader:
        columns = assemble(sources, pulls, [reader.read(pull) for pull in pulls])
    return int((~np.logical_or.reduce([missing(columns[name]) for name in sorted(needed)])).sum())


def _narrowed(source: Source, fields: Collection[str]) -> Source:
    """Without the fields that do not count."""
    return msgspec.structs.replace(source, columns=tuple(pair for pair in source.columns if pair[0] in fields))
