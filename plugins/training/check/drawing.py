"""The curves of the page, from the scores of the holdout."""

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from training.check.findings import Drawn
from training.definition import ModelDefinition
from training.evidence.curves import curves_of
from training.rows import Mask

BARS = 20
DOTS = 400


def drawn(definition: ModelDefinition, scores: Floats, targets: Floats) -> Drawn:
    """What there is to draw.

    Args:
        scores, targets: as ``training.metrics.metrics_of`` takes them.
    """
    if len(scores) == 0:
        return Drawn()
    if definition.task is Task.REGRESSION:
        places = np.unique(np.linspace(0, len(scores) - 1, min(len(scores), DOTS)).astype(np.intp))
        pairs = zip(targets[places].tolist(), scores[places].tolist(), strict=True)
        edges = _edges(float(min(scores.min(), targets.min())), float(max(scores.max(), targets.max())))
        both = {"came": _shares(targets, edges), "predicted": _shares(scores, edges)}
        return Drawn(actual=tuple(pairs), score_edges=edges, scores=both)
    curves = curves_of(definition.task, targets, {"candidate": scores}, {}, definition.label.classes)
    binary = definition.task is Task.BINARY
    roc = {"the model": curves.roc.get("candidate", ())} if binary else dict(curves.classes)
    edges = _edges(0.0, 1.0)
    return Drawn(
        roc={name: line for name, line in roc.items() if line},
        score_edges=edges,
        scores=_by_class(
            scores if binary else scores.max(axis=1),
            targets if binary else scores.argmax(axis=1) == targets,
            edges,
            binary=binary,
        ),
    )


def _by_class(
    scores: Floats, came: Floats | Mask, edges: tuple[float, ...], *, binary: bool
) -> dict[str, tuple[float, ...]]:
    names = ("it did not come", "it came") if binary else ("another class came", "that class came")
    yes: Mask = np.asarray(came, dtype=np.bool_)
    return {name: _shares(scores[mask], edges) for name, mask in zip(names, (~yes, yes), strict=True)}


def _edges(low: float, high: float) -> tuple[float, ...]:
    return tuple(np.linspace(low, high if high > low else low + 1.0, BARS + 1).tolist())


def _shares(values: Floats, edges: tuple[float, ...]) -> tuple[float, ...]:
    counts, _ = np.histogram(values, bins=np.array(edges))
    return tuple((counts / max(1, counts.sum())).tolist())
