"""What the values of a sample say: columns that tell nothing, that change their character, or that are not there."""

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from scoring.contract.encoder import Column
from scoring.contract.features import Category, FieldType, HourOfDay, inputs_of
from training.check.findings import Finding, Level, Section
from training.check.outline import Outline
from training.definition import ModelDefinition
from training.pull import column_types
from training.rows import Mask, missing

# Shares of rows, and numbers of them, from which on something is told. Set by hand, to be quiet on sound data.
MANY_VALUES = 200
MOST_DIFFERENT = 0.5
LOOKUP_SILENT = 0.01
LOOKUP_SELDOM = 0.5
FEW_OF_CLASS = 10
_DAY_S = 86_400.0


class Rows(msgspec.Struct, frozen=True):
    """The sample in the two parts of time, each mask of shape (rows,).

    Attributes:
        every: one row of so many was taken.
        now_s: seconds since 1970.
    """

    definition: ModelDefinition
    outline: Outline
    columns: Mapping[str, Column]
    kinds: Mapping[str, FieldType]
    training: Mask
    holdout: Mask
    every: int
    now_s: float

    def finding(
        self, section: Section, level: Level, about: str | None, sentence: str, remedy: str, line: int | None = None
    ) -> Finding:
        """A finding at the line of the column that it is about."""
        at = line if line is not None or about is None else self.outline.line_of_column(about)
        return Finding(
            section=section, level=level, about=about, sentence=sentence, remedy=remedy, file=self.outline.file, line=at
        )


def rows_of(
    definition: ModelDefinition,
    outline: Outline,
    columns: Mapping[str, Column],
    *,
    holdout_start_s: float,
    every: int,
    now_s: float,
) -> Rows:
    """The sample's rows by their part."""
    times = np.asarray(columns[definition.event_time], dtype=np.float64)
    before = times < holdout_start_s
    return Rows(definition, outline, columns, column_types(definition), before, ~before, every, now_s)


def column_findings(rows: Rows) -> Iterator[Finding]:
    """All that single columns say."""
    yield from _required(rows)
    yield from _times(rows)
    read = read_by_features(rows.definition)
    for name, reader in read.items():
        yield from _constant(rows, name, reader)
    for feature in rows.definition.features:
        if isinstance(feature, Category):
            yield from _many_values(rows, feature)


def lookup_findings(rows: Rows) -> Iterator[Finding]:
    """Lookups that answer for no record, or for few."""
    for lookup in rows.definition.lookups:
        names = [f"{lookup.name}.{each.name}" for each in lookup.fields]
        answered = np.logical_or.reduce([~missing(rows.columns[name]) for name in names])
        share = float(answered.mean()) if len(answered) else 1.0
        if share >= LOOKUP_SELDOM:
            continue
        level = Level.ERROR if share < LOOKUP_SILENT else Level.WARNING
        told = f"the lookup {lookup.name!r} answers for {share:.1%} of the records"
        columns = ", ".join(f"{column} = {field}" for column, field in lookup.match)
        remedy = f"does {columns} match, also in letter case and type? Are its rows within max_age of the events?"
        line = rows.outline.line_of("lookups", lookup.name)
        yield rows.finding(Section.LOOKUPS, level, lookup.name, told, remedy, line)


def _required(rows: Rows) -> Iterator[Finding]:
    for field in rows.definition.known_fields:
        share = float(missing(rows.columns[field.name]).mean())
        if field.required and share > 0:
            told = f"{field.name!r} is required, but missing in {share:.1%} of the rows"
            level = Level.ERROR if share > MOST_DIFFERENT else Level.WARNING
            remedy = "such records become dead letters: take required=True away where they should be scored"
            yield rows.finding(Section.DATA, level, field.name, told, remedy)


def _times(rows: Rows) -> Iterator[Finding]:
    """Event times that are dates: no hour of the day, and all of a day at once."""
    name = rows.definition.event_time
    times = np.asarray(rows.columns[name], dtype=np.float64)
    if len(times) < 2 or not (np.mod(times, _DAY_S) == 0).all():
        return
    told = f"every event time {name!r} is midnight in UTC: it is a date, not a moment"
    remedy = "what is looked up, and known, is as of that midnight; use the moment of the event where there is one"
    yield rows.finding(Section.DATA, Level.WARNING, name, told, remedy)
    for feature in rows.definition.features:
        if isinstance(feature, HourOfDay) and feature.of == name:
            told, line = (
                f"feature {feature.name!r} is the hour of a date",
                rows.outline.line_of("features", feature.name),
            )
            yield rows.finding(Section.DATA, Level.WARNING, feature.name, told, "take it out", line)


def _constant(rows: Rows, name: str, feature: str) -> Iterator[Finding]:
    column, gone = rows.columns[name], missing(rows.columns[name])
    if gone.all():
        told = f"{name!r} has no value in any row, so feature {feature!r} tells nothing"
        yield rows.finding(Section.DATA, Level.ERROR, name, told, "take the feature out, or mend the column")
        return
    values = {value for value, there in zip(list(column), (~gone).tolist(), strict=True) if there}
    if len(values) == 1 and not gone.any():
        told = f"{name!r} has the same value in every row, so feature {feature!r} tells nothing"
        yield rows.finding(Section.DATA, Level.WARNING, name, told, "take the feature out")


def _many_values(rows: Rows, feature: Category) -> Iterator[Finding]:
    words = [word for word in rows.columns[feature.of] if word is not None]
    different = len(set(words))
    if different <= MANY_VALUES and (different < MOST_DIFFERENT * len(words) or different < FEW_OF_CLASS):
        return
    told = f"category {feature.of!r} has {different:,} different values in {len(words):,} rows"
    remedy = "an id or a free text is no category: take it out, or group its values in a view"
    yield rows.finding(Section.DATA, Level.WARNING, feature.of, told, remedy)


def read_by_features(definition: ModelDefinition) -> dict[str, str]:
    """The first feature that reads each column, by the column."""
    found: dict[str, str] = {}
    for feature in definition.features:
        for name, _ in inputs_of(feature):
            found.setdefault(name, feature.name)
    return found
