"""What the values of a sample say: columns that tell nothing, that change their character, or that are not there."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import msgspec
import numpy as np

from scoring.contract.encoder import Column, Floats
from scoring.contract.features import Category, FieldType, HourOfDay, inputs_of
from scoring.contract.manifest import Task
from training.check.findings import Finding, Level, Section
from training.check.outline import Outline
from training.definition import ModelDefinition
from training.pull import column_types
from training.rows import Mask, missing, targets

# Shares of rows, and numbers of them, from which on something is told. Set by hand, to be quiet on sound data.
MISSING_CHANGE = 0.1
UNSEEN = 0.05
BEYOND = 0.1
SHIFT = 0.3
MANY_VALUES = 200
MOST_DIFFERENT = 0.5
LOOKUP_SILENT = 0.01
LOOKUP_SELDOM = 0.5
FEW_HOLDOUT_ROWS = 200
FEW_OF_CLASS = 10
_DAY_S = 86_400.0


class Rows(msgspec.Struct, frozen=True):
    """The sample as the pipeline split it, each mask of shape (rows,)."""

    definition: ModelDefinition
    outline: Outline
    columns: Mapping[str, Column]
    kinds: Mapping[str, FieldType]
    training: Mask
    holdout: Mask
    every: int

    def finding(
        self, section: Section, level: Level, about: str | None, sentence: str, remedy: str, line: int | None = None
    ) -> Finding:
        """A finding at the line of the column that it is about."""
        at = line if line is not None or about is None else self.outline.line_of_column(about)
        return Finding(
            section=section, level=level, about=about, sentence=sentence, remedy=remedy, file=self.outline.file, line=at
        )


def rows_of(
    definition: ModelDefinition, outline: Outline, columns: Mapping[str, Column], holdout_start_s: float, every: int
) -> Rows:
    """The sample's rows by their part."""
    times = np.asarray(columns[definition.event_time], dtype=np.float64)
    before = times < holdout_start_s
    return Rows(definition, outline, columns, column_types(definition), before, ~before, every)


def column_findings(rows: Rows) -> Iterator[Finding]:
    """All that single columns say."""
    yield from _required(rows)
    yield from _times(rows)
    read = _read_by_features(rows.definition)
    for name, reader in read.items():
        yield from _constant(rows, name, reader)
    for feature in rows.definition.features:
        if isinstance(feature, Category):
            yield from _many_values(rows, feature)


def skew_findings(rows: Rows) -> Iterator[Finding]:
    """Columns that the model reads whose values are of another kind in the holdout than before it."""
    if not (rows.training.any() and rows.holdout.any()):
        return
    for name in _read_by_features(rows.definition):
        gone = missing(rows.columns[name])
        before, after = float(gone[rows.training].mean()), float(gone[rows.holdout].mean())
        if abs(after - before) > MISSING_CHANGE:
            told = f"{name!r} is missing in {before:.0%} of the rows before the holdout and in {after:.0%} within it"
            yield _skew(rows, name, told, "did its source change? A model that learnt from it there errs here")
        if rows.kinds[name] is FieldType.STRING:
            yield from _unseen(rows, name, gone)
        elif rows.kinds[name] is FieldType.NUMBER:
            yield from _moved(rows, name, gone)


def split_findings(rows: Rows) -> Iterator[Finding]:
    """Whether there is enough to learn from and to judge by."""
    wanted, known = targets(rows.definition, rows.columns), ~missing(rows.columns[rows.definition.label.column])
    if not known.any():
        told = f"no row has a known label {rows.definition.label.column!r}"
        yield rows.finding(Section.SPLIT, Level.ERROR, rows.definition.label.column, told, _LABEL_REMEDY)
        return
    yield from _holdout_length(rows)
    judged = rows.holdout & known
    if 0 < judged.sum() * rows.every < FEW_HOLDOUT_ROWS:
        told = f"the holdout has {judged.sum() * rows.every:,} rows with a label: too few to tell models apart"
        yield rows.finding(
            Section.SPLIT, Level.WARNING, None, told, "make the holdout longer", rows.outline.line_of("holdout")
        )
    if rows.definition.task is not Task.REGRESSION:
        yield from _classes(rows, wanted, known)
    if rows.definition.label.known_after <= timedelta(0):
        told = f"the label {rows.definition.label.column!r} is declared as known at the event, when it is predicted"
        remedy = "say with known_after how long after the event the outcome is known"
        yield rows.finding(
            Section.SPLIT, Level.WARNING, None, told, remedy, rows.outline.line_of("label", "known_after")
        )


_LABEL_REMEDY = "is it the right column, and is known_after no longer than the data are old?"


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


def _unseen(rows: Rows, name: str, gone: Mask) -> Iterator[Finding]:
    column = list(rows.columns[name])
    known = {column[place] for place in np.flatnonzero(rows.training & ~gone)}
    later = [column[place] for place in np.flatnonzero(rows.holdout & ~gone)]
    strange = [word for word in later if word not in known]
    if later and len(strange) / len(later) > UNSEEN:
        told = f"{name!r} has values in {len(strange) / len(later):.0%} of the holdout that never came before it"
        example = f"such as {strange[0]!r}; the model takes them for missing. Group the values, or take it out"
        yield _skew(rows, name, told, example)


def _moved(rows: Rows, name: str, gone: Mask) -> Iterator[Finding]:
    values = np.asarray(rows.columns[name], dtype=np.float64)
    before, after = values[rows.training & ~gone], values[rows.holdout & ~gone]
    if len(before) < FEW_OF_CLASS or len(after) < FEW_OF_CLASS:
        return
    beyond = float(((after < before.min()) | (after > before.max())).mean())
    if beyond > BEYOND:
        told = f"{beyond:.0%} of the holdout's {name!r} lie beyond all before it ({before.min():g} to {before.max():g})"
        yield _skew(rows, name, told, "a counter, or another unit? Trees cannot continue a trend: use a difference")
    elif (shift := _distance(before, after)) > max(SHIFT, 2.0 * np.sqrt(1 / len(before) + 1 / len(after))):
        medians = f"median {np.median(after):g}, before {np.median(before):g}"
        told = f"{name!r} is distributed otherwise in the holdout ({medians}; Kolmogorov-Smirnov distance {shift:.2f})"
        yield _skew(rows, name, told, "a season, another unit or another source? The gates judge by the holdout alone")


def _distance(before: Floats, after: Floats) -> float:
    """The largest difference of the two distribution functions (Kolmogorov and Smirnov)."""
    places = np.unique(np.concatenate([before, after]))
    ours, theirs = (np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (before, after))
    return float(np.abs(ours - theirs).max())


def _holdout_length(rows: Rows) -> Iterator[Finding]:
    if rows.training.any():
        return
    times = np.asarray(rows.columns[rows.definition.event_time], dtype=np.float64)
    days = (times.max() - times.min()) / _DAY_S
    told = f"the holdout is longer than the data, which span {days:.1f} days: nothing is left to train on"
    remedy = f"such as holdout=days({max(1, int(days * 0.2))})"
    yield rows.finding(Section.SPLIT, Level.ERROR, None, told, remedy, rows.outline.line_of("holdout"))


def _classes(rows: Rows, wanted: Floats, known: Mask) -> Iterator[Finding]:
    """Classes that are missing, or hardly there, in one of the parts."""
    names = rows.definition.label.classes or ("no", "yes")
    line = rows.outline.line_of("label", "classes", "at_least")
    parts = (("before the holdout", rows.training & known), ("in the holdout", rows.holdout & known))
    for where, mask in parts:
        for place, name in enumerate(names):
            there = int((wanted[mask] == place).sum())
            if mask.any() and there * rows.every < FEW_OF_CLASS:
                rare = "no row" if there == 0 else f"only {there * rows.every} rows"
                fatal = there == 0 and (len(names) == 2 or where != "in the holdout")
                told, remedy = f"there is {rare} of class {name!r} {where}", _class_remedy(where)
                yield rows.finding(Section.SPLIT, Level.ERROR if fatal else Level.WARNING, None, told, remedy, line)


def _class_remedy(where: str) -> str:
    if where == "in the holdout":
        return "make the holdout longer, or judge the class together with another one"
    return "a model cannot learn what it never saw: give it more history, or leave the class out"


def _read_by_features(definition: ModelDefinition) -> dict[str, str]:
    """The first feature that reads each column, by the column."""
    found: dict[str, str] = {}
    for feature in definition.features:
        for name, _ in inputs_of(feature):
            found.setdefault(name, feature.name)
    return found


def _skew(rows: Rows, name: str, sentence: str, remedy: str) -> Finding:
    return rows.finding(Section.SPLIT, Level.WARNING, name, sentence, remedy)
