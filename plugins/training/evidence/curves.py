"""Curves for people: ROC, and how the resamples fall."""

from collections.abc import Mapping

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from training.candidate import Curves

POINTS = 200


def curves_of(task: Task, targets: Floats, scores: Mapping[str, Floats], gains: Mapping[str, Floats]) -> Curves:
    """The curves, with a few hundred points each.

    Args:
        scores: of the candidate and the baseline, by those names, each of shape (rows,).
        gains: by metric, of the resamples.
    """
    drawn = {name: _roc(found, targets) for name, found in scores.items()} if task is Task.BINARY else {}
    return Curves(
        roc=drawn, gains={name: _thinned(np.sort(found[np.isfinite(found)])) for name, found in gains.items()}
    )


def _roc(scores: Floats, targets: Floats) -> tuple[tuple[float, float], ...]:
    order = np.argsort(-scores, kind="stable")
    positive = targets[order] > 0
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1) if len(order) else np.empty(0, np.intp)
    true, false = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    if len(last) == 0 or true[-1] == 0 or false[-1] == 0:
        return ()
    chosen = _spread(len(last))
    points = zip((false / false[-1])[chosen].tolist(), (true / true[-1])[chosen].tolist(), strict=True)
    return ((0.0, 0.0), *points)


def _thinned(values: Floats) -> tuple[float, ...]:
    return tuple(values[_spread(len(values))].tolist())


def _spread(count: int) -> np.typing.NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(np.intp))
