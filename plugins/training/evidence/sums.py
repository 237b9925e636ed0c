"""Every metric as a function of sums per block of rows, so that resampling blocks costs next to nothing.

A resample that draws block *b* *w(b)* times has the metric's value of weighted rows. All metrics here follow from sums
per block, and the area under the ROC curve from a matrix: entry (a, b) counts the pairs of a positive row of block a
and a negative row of block b that the scores order rightly, ties half. Its weighted value is then
``w' M w / (w'p * w'n)``: exactly the area of the weighted rows, without sorting anything again. Of several classes
there is a matrix for each against all others, and the mean of the areas counts.
"""

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from training.metrics import row_losses

Indexes = npt.NDArray[np.intp]


class Sums(msgspec.Struct, frozen=True):
    """What a metric needs to know about each block.

    Attributes:
        totals: sums over a block's rows by name, each of shape (blocks,); ``rows`` is their number.
        pairs: of shape (blocks, blocks) each: one for a binary model, of several classes one for each.
        positives: rows of the class of each matrix, each of shape (blocks,).
        center: subtracted from a regression's targets before they were summed, which keeps the digits.
    """

    task: Task
    totals: Mapping[str, Floats]
    pairs: tuple[Floats, ...] = ()
    positives: tuple[Floats, ...] = ()
    center: float = 0.0


def sums_of(task: Task, scores: Floats, targets: Floats, blocks: Indexes, count: int) -> Sums:
    """The sums of scores and targets per block.

    Args:
        scores, targets: of shape (rows,), or scores of several classes, of shape (rows, classes).
        blocks: the block of each row, 0 to ``count`` - 1.
    """
    center = float(np.mean(targets)) if task is Task.REGRESSION and len(targets) else 0.0
    moved = targets - center
    rows: dict[str, Floats] = {
        "rows": np.ones(len(targets)),
        "target": moved,
        "target_squared": moved * moved,
        **row_losses(task, scores, targets),
    }
    totals = {name: _by_block(values, blocks, count) for name, values in rows.items()}
    against = list(_against_others(task, scores, targets))
    return Sums(
        task,
        totals,
        tuple(_pairs(each, came, blocks, count) for each, came in against),
        tuple(_by_block(came.astype(np.float64), blocks, count) for _, came in against),
        center,
    )


def _against_others(task: Task, scores: Floats, targets: Floats) -> Iterator[tuple[Floats, npt.NDArray[np.bool_]]]:
    """The scores of each class with an area, and which rows are of it."""
    if task is Task.BINARY:
        yield scores, targets > 0
    if task is Task.MULTICLASS:
        yield from ((scores[:, place], targets == place) for place in range(scores.shape[1]))


def metric_values(sums: Sums, weights: Floats) -> Mapping[str, Floats]:
    """Each metric for each resample, NaN where it has no value.

    Args:
        weights: how often each block is drawn, of shape (resamples, blocks).

    Returns:
        by name, each of shape (resamples,).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = {name: weights @ total for name, total in sums.totals.items()}
        mean = {name: total / drawn["rows"] for name, total in drawn.items()}
        if sums.task is not Task.REGRESSION:
            return _of_classes(sums, weights, drawn["rows"], mean)
        spread = mean["target_squared"] - mean["target"] ** 2
        return {
            "mae": mean["absolute"],
            "rmse": np.sqrt(mean["squared"]),
            "r2": np.where(spread > 0, 1.0 - mean["squared"] / spread, np.nan),
        }


def _of_classes(sums: Sums, weights: Floats, rows: Floats, mean: Mapping[str, Floats]) -> Mapping[str, Floats]:
    drawn = zip(sums.pairs, sums.positives, strict=True)
    area = np.mean([_auc(pairs, weights, weights @ positives, rows) for pairs, positives in drawn], axis=0)
    found = {"auc": area, "log_loss": mean["log_loss"], "brier": mean["squared"]}
    return {**found, "accuracy": mean["right"]} if sums.task is Task.MULTICLASS else found


def _auc(pairs: Floats, weights: Floats, positives: Floats, rows: Floats) -> Floats:
    right: Floats = ((weights @ pairs) * weights).sum(axis=1)
    possible = positives * (rows - positives)
    return np.where(possible > 0, right / possible, np.nan)


def _by_block(values: Floats, blocks: Indexes, count: int) -> Floats:
    return np.bincount(blocks, weights=values, minlength=count).astype(np.float64)


def _pairs(scores: Floats, positive: npt.NDArray[np.bool_], blocks: Indexes, count: int) -> Floats:
    found = np.zeros((count, count))
    if bool(np.isnan(scores).any()):
        return np.full((count, count), np.nan)
    order = np.argsort(scores, kind="stable")
    ordered, is_positive, block = scores[order], positive[order], blocks[order]
    positives = np.flatnonzero(is_positive)
    # The first row of the same score, and the first row of a higher one.
    lower = np.searchsorted(ordered, ordered[positives], side="left")
    higher = np.searchsorted(ordered, ordered[positives], side="right")
    for number in range(count):
        before = np.zeros(len(ordered) + 1)
        np.cumsum(~is_positive & (block == number), out=before[1:])
        found[:, number] = _by_block((before[lower] + before[higher]) / 2, block[positives], count)
    return found
