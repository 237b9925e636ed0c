"""Curves for people: ROC, and how the resamples fall."""

from collections.abc import Mapping, Sequence

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from training.candidate import Curves

POINTS = 200


def curves_of(
    task: Task,
    targets: Floats,
    scores: Mapping[str, Floats],
    gains: Mapping[str, Floats],
    classes: Sequence[str] = (),
) -> Curves:
    """The curves, with a few hundred points each.

    Args:
        scores: of the candidate and the baseline, by those names, as ``training.metrics.metrics_of`` takes them.
        gains: by metric, of the resamples.
        classes: their names, where there are several.
    """
    several = task is Task.MULTICLASS
    return Curves(
        roc={name: _roc(found, targets) for name, found in scores.items()} if task is Task.BINARY else {},
        gains={name: _thinned(np.sort(found[np.isfinite(found)])) for name, found in gains.items()},
        classes=_against_others(scores["candidate"], targets, classes) if several else {},
        confusion=_confusion(scores["candidate"], targets) if several else (),
    )


def _against_others(
    scores: Floats, targets: Floats, classes: Sequence[str]
) -> dict[str, tuple[tuple[float, float], ...]]:
    return {name: _roc(scores[:, place], (targets == place).astype(np.float64)) for place, name in enumerate(classes)}


def _confusion(scores: Floats, targets: Floats) -> tuple[tuple[int, ...], ...]:
    count = scores.shape[1]
    place = targets.astype(np.intp) * count + scores.argmax(axis=1)
    rows = np.bincount(place, minlength=count * count).reshape(count, count)
    return tuple(tuple(row) for row in rows.tolist())


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
