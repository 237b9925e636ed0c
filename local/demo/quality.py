"""How good the predictions were, once the flights had landed: area under the ROC curve against what happened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from scipy.stats import rankdata

from scoring.contract.clock import from_epoch_s
from training.definition import ModelDefinition

FEWEST_LABELS_A_DAY = 300


@dataclass(frozen=True, slots=True)
class Scored:
    """One prediction: by which version, of which record, with which score."""

    key: str
    event_s: float
    version: str
    score: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Of ``records`` predictions, those whose outcome is known. ``auc`` is None where only one outcome occurred."""

    records: int
    labelled: int
    auc: float | None
    base_rate: float | None


def outcomes_of(definition: ModelDefinition, url: str, start: datetime, end: datetime) -> dict[str, bool]:
    """What became of each record in ``[start, end)`` by its key; without those whose outcome never comes."""
    (source,), label = definition.all_sources, definition.label
    columns = dict(source.columns)
    key, event, column = (columns[name] for name in (definition.key, definition.event_time, label.column))
    table = sa.table(source.table, sa.column(key), sa.column(event, sa.DateTime(timezone=True)), sa.column(column))
    wanted = (
        sa.select(table.c[key], table.c[column] >= label.at_least)
        .where(table.c[event] >= start.astimezone(UTC), table.c[event] < end.astimezone(UTC))
        .where(table.c[column].is_not(None))
    )
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return {str(name): bool(happened) for name, happened in connection.execute(wanted)}
    finally:
        engine.dispose()


def quality_of(scored: Iterable[Scored], happened: Mapping[str, bool]) -> Quality:
    """Hold scores against outcomes."""
    predictions = list(scored)
    known = [(prediction.score, happened[prediction.key]) for prediction in predictions if prediction.key in happened]
    if not known:
        return Quality(len(predictions), 0, None, None)
    scores, labels = np.array([score for score, _ in known]), np.array([label for _, label in known])
    return Quality(len(predictions), len(known), area_under_curve(labels, scores), float(labels.mean()))


def area_under_curve(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float | None:
    """The chance that a positive has a higher score than a negative, ties counting half (Mann-Whitney's U)."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return None
    ranks: npt.NDArray[Any] = rankdata(scores)
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def by_version(scored: Iterable[Scored], happened: Mapping[str, bool]) -> dict[str, Quality]:
    """The quality of each version on the records that it scored."""
    groups: dict[str, list[Scored]] = {}
    for prediction in scored:
        groups.setdefault(prediction.version, []).append(prediction)
    return {version: quality_of(group, happened) for version, group in sorted(groups.items())}


def by_day(scored: Iterable[Scored], happened: Mapping[str, bool], zone: tzinfo) -> dict[date, float]:
    """The area under the curve of each local day that has outcomes enough."""
    groups: dict[date, list[Scored]] = {}
    for prediction in scored:
        groups.setdefault(from_epoch_s(prediction.event_s).astimezone(zone).date(), []).append(prediction)
    found = {day: quality_of(group, happened) for day, group in sorted(groups.items())}
    return {day: q.auc for day, q in found.items() if q.auc is not None and q.labelled >= FEWEST_LABELS_A_DAY}
