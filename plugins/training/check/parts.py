"""Training and holdout: whether there is enough of both, and whether they are of one kind."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.features import FieldType
from scoring.contract.manifest import Task
from training.check.columns import FEW_OF_CLASS, Rows, read_by_features
from training.check.findings import Finding, Level, Section
from training.rows import Mask, missing, targets

# Shares of rows, and numbers of them, from which on something is told. Set by hand, to be quiet on sound data.
MISSING_CHANGE = 0.1
UNSEEN = 0.05
BEYOND = 0.1
SHIFT = 0.3
FEW_HOLDOUT_ROWS = 200
FEW_LABELS = 30
_DAY_S = 86_400.0
_LABEL_REMEDY = "is it the right column, and is known_after no longer than the data are old?"


def skew_findings(rows: Rows) -> Iterator[Finding]:
    """Columns that the model reads whose values are of another kind in the holdout than before it."""
    if not (rows.training.any() and rows.holdout.any()):
        return
    for name in read_by_features(rows.definition):
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
    yield from _slow_labels(rows, known)
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


def early_label(rows: Rows, withheld: int) -> Iterator[Finding]:
    """Labels that are there although they are said to be known later; training does without them.

    Args:
        withheld: how many of the sample were.
    """
    if withheld >= FEW_OF_CLASS:
        delay = rows.definition.label.known_after
        told = (
            f"{withheld * rows.every:,} rows have a label although their events are younger than known_after ({delay})"
        )
        remedy = "is known_after longer than it need be, or is the label filled in before the outcome is certain?"
        yield rows.finding(
            Section.SPLIT, Level.NOTE, rows.definition.label.column, told, remedy, rows.outline.line_of("label")
        )


def _slow_labels(rows: Rows, known: Mask) -> Iterator[Finding]:
    """Whether rows that are just old enough lack the label more often than older ones."""
    delay_s = rows.definition.label.known_after.total_seconds()
    age_s = rows.now_s - np.asarray(rows.columns[rows.definition.event_time], dtype=np.float64)
    young, old = (age_s > delay_s) & (age_s < 2 * delay_s), age_s >= 2 * delay_s
    if min(young.sum(), old.sum()) < FEW_LABELS:
        return
    lacking, usual = float((~known)[young].mean()), float((~known)[old].mean())
    if lacking - usual > MISSING_CHANGE:
        told = f"{lacking:.0%} of the events that are just older than known_after lack the label"
        told += f", {usual:.0%} of older ones"
        remedy = "labels come later than known_after says: raise it, or the newest outcomes are not those of all"
        line = rows.outline.line_of("label", "known_after")
        yield rows.finding(Section.SPLIT, Level.WARNING, rows.definition.label.column, told, remedy, line)


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


def _skew(rows: Rows, name: str, sentence: str, remedy: str) -> Finding:
    return rows.finding(Section.SPLIT, Level.WARNING, name, sentence, remedy)
