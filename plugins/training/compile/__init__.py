"""Compile an estimator to ONNX: exactly (``trees``, ``forests``) or else within a tolerance (``general``)."""

from typing import Any

import msgspec

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Output, Task


class Compiled(msgspec.Struct, frozen=True):
    """A compiled model.

    Attributes:
        graph: the bytes of the ONNX file.
        output: how to run it; the threshold is the definition's.
    """

    graph: bytes
    output: Output


def compile_model(
    estimator: Any, task: Task, sample: Floats, *, tolerance: float, threshold: float | None = None
) -> Compiled:
    """Compile a fitted estimator.

    Args:
        sample: rows of the feature matrix; where there is a choice, the form that reproduces them best is taken.
        tolerance: largest absolute difference that inexact models may show, for the manifest.

    Raises:
        ConfigurationError: the estimator cannot be compiled; the message says why, and what can be.
    """
    from training.compile import forests, general, trees  # noqa: PLC0415  they load ONNX and scikit-learn

    single = _single(estimator)
    if trees.is_boosting(single):
        graph, output = trees.compile_boosting(single, task)
    elif forests.is_forest(single):
        graph, output = forests.compile_forest(single, task)
    else:
        graph, output = general.convert(estimator, task, sample, tolerance)
    return Compiled(graph, msgspec.structs.replace(output, threshold=threshold))


def predict(estimator: Any, task: Task, matrix: Floats) -> Floats:
    """The estimator's own scores, float64 of shape (rows,): the probability of the positive class, or the number.

    Always in one thread: a forest adds up what its trees say in the order in which its threads finish.
    """
    from joblib import parallel_config  # type: ignore[import-untyped]  # noqa: PLC0415  of scikit-learn, slow to load

    with parallel_config(backend="sequential"):
        return _predicted(estimator, task, matrix)


def _predicted(estimator: Any, task: Task, matrix: Floats) -> Floats:
    raw = estimator.predict_proba(matrix)[:, 1] if task is Task.BINARY else estimator.predict(matrix).reshape(-1)
    scores: Floats = raw.astype("float64", copy=False)
    return scores


def _single(estimator: Any) -> Any:
    """The only step of a pipeline of one step."""
    steps = getattr(estimator, "steps", None)
    return _single(steps[0][1]) if steps is not None and len(steps) == 1 else estimator
