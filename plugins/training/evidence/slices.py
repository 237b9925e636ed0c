"""Slices: the holdout rows that share a value, such as one carrier's, with candidate and baseline on the same rows."""

import math
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import numpy as np

from scoring.contract.encoder import Column, Columns, Floats
from scoring.contract.features import Category, FeatureSchema
from scoring.contract.manifest import Task
from training.evidence.bootstrap import Blocks, compare, standard_error
from training.evidence.sums import Indexes, metric_values, sums_of
from training.measured import Slice, Slices

MOST_VALUES = 40
"""A name's slices beyond the largest are left out."""
DISTINCT = 12
"""A number with more values than this is sliced by quarters."""
OF_OTHER_CLASSES = 20


class Rows(msgspec.Struct, frozen=True):
    """The holdout with both models' scores, as ``training.metrics.metrics_of`` takes them."""

    task: Task
    candidate: Floats
    baseline: Floats
    targets: Floats
    blocks: Blocks
    confidence: float


def slices_of(
    names: list[str], columns: Columns, schema: FeatureSchema, matrix: Floats, rows: Rows, weights: Floats, least: int
) -> Slices:
    """Measure every slice with at least ``least`` rows, and for classes 20 rows that are not of the most frequent one.

    Args:
        names: of fields, looked-up values or features.
        matrix: the encoded holdout, in which a feature's values stand.
        weights: of the resamples.
    """
    judged: list[Slice] = []
    too_small = left_out = 0
    for name in names:
        found = sorted(_values(name, columns, schema, matrix), key=lambda each: -len(each[1]))
        large = [each for each in found if _is_enough(rows, each[1], least)]
        too_small += len(found) - len(large)
        left_out += max(0, len(large) - MOST_VALUES)
        judged += [_measured(name, value, rows, places, weights) for value, places in large[:MOST_VALUES]]
    return Slices(judged=tuple(judged), too_small=too_small, left_out=left_out)


def _values(name: str, columns: Columns, schema: FeatureSchema, matrix: Floats) -> Iterator[tuple[str, Indexes]]:
    """Each value of a name, for people, with the rows that have it."""
    column = _column(name, columns, schema, matrix)
    words = _words(column)
    distinct, place = np.unique(words, return_inverse=True)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=len(distinct)))
    for number, value in enumerate(distinct.tolist()):
        yield value, order[ends[number - 1] if number else 0 : ends[number]]


def _column(name: str, columns: Columns, schema: FeatureSchema, matrix: Floats) -> Column:
    if name in columns:
        return columns[name]
    place, feature = next((place, each) for place, each in enumerate(schema.features) if each.name == name)
    return columns[feature.of] if isinstance(feature, Category) else matrix[:, place]


def _words(column: Column) -> np.typing.NDArray[np.str_]:
    if not (isinstance(column, np.ndarray) and column.dtype == np.float64):
        return np.array(["missing" if word is None else str(word) for word in column], dtype=np.str_)
    there = column[np.isfinite(column)]
    distinct = np.unique(there)
    if len(distinct) <= DISTINCT:
        return np.array([f"{value:g}" if math.isfinite(value) else "missing" for value in column], dtype=np.str_)
    edges = np.unique(np.quantile(there, [0.25, 0.5, 0.75]))
    limits = [distinct[0], *edges.tolist(), distinct[-1]]
    names = np.array([f"{low:.4g} to {high:.4g}" for low, high in pairwise(limits)])
    places = np.searchsorted(edges, np.where(np.isfinite(column), column, 0.0), side="left")
    return np.where(np.isfinite(column), names[places], "missing")


def _is_enough(rows: Rows, places: Indexes, least: int) -> bool:
    if len(places) < least:
        return False
    if rows.task is Task.REGRESSION:
        return True
    of_class = np.bincount(rows.targets[places].astype(np.intp))
    return len(places) - int(of_class.max(initial=0)) >= OF_OTHER_CLASSES


def _measured(name: str, value: str, rows: Rows, places: Indexes, weights: Floats) -> Slice:
    blocks, targets = rows.blocks.of_row[places], rows.targets[places]
    ours = sums_of(rows.task, rows.candidate[places], targets, blocks, rows.blocks.count)
    theirs = sums_of(rows.task, rows.baseline[places], targets, blocks, rows.blocks.count)
    count = len(np.unique(blocks))
    whole = metric_values(ours, np.ones((1, rows.blocks.count)))
    errors = {metric: standard_error(found, count) for metric, found in metric_values(ours, weights).items()}
    known = [metric for metric in whole if math.isfinite(whole[metric][0]) and math.isfinite(errors[metric])]
    return Slice(
        of=name,
        value=value,
        rows=len(places),
        blocks=count,
        metrics={metric: float(whole[metric][0]) for metric in known},
        errors={metric: errors[metric] for metric in known},
        comparisons=compare(ours, theirs, weights, rows.confidence, blocks=count),
    )
