"""Compile an estimator to ONNX: exactly (``trees``, ``forests``) or else within a tolerance (``general``)."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
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
    estimator: Any,
    task: Task,
    sample: Floats,
    *,
    tolerance: float,
    threshold: float | None = None,
    classes: Sequence[str] = (),
) -> Compiled:
    """Compile a fitted estimator.

    Args:
        sample: rows of the feature matrix; where there is a choice, the form that reproduces them best is taken.
        tolerance: largest absolute difference that inexact models may show, for the manifest.
        classes: of a model of several classes their names; the estimator knows them as 0, 1, 2 and so on.

    Raises:
        ConfigurationError: the estimator cannot be compiled; the message says why, and what can be.
    """
    from training.compile import forests, general, trees  # noqa: PLC0415  they load ONNX and scikit-learn

    if task is Task.MULTICLASS:
        check_classes(estimator, classes)
    single = _single(estimator)
    if trees.is_boosting(single):
        graph, output = trees.compile_boosting(single, task)
    elif forests.is_forest(single):
        graph, output = forests.compile_forest(single, task)
    else:
        graph, output = general.convert(estimator, task, sample, tolerance, classes)
    return Compiled(graph, msgspec.structs.replace(output, threshold=threshold, classes=tuple(classes)))


def check_classes(estimator: Any, classes: Sequence[str]) -> None:
    """Hold what a fitted estimator learnt against the definition's classes.

    Raises:
        ConfigurationError: it has not learnt every class, or others; the message names them.
    """
    learnt = list(getattr(estimator, "classes_", ()))
    if learnt == [*range(len(classes))]:
        return
    named = [classes[each] if each in range(len(classes)) else str(each) for each in learnt]
    raise ConfigurationError(
        f"{type(estimator).__name__} has learnt the classes {named}, the definition names {[*classes]}: each must "
        "occur in the training rows; leave out a class that does not, or widen the interval"
    )


def predict(estimator: Any, task: Task, matrix: Floats) -> Floats:
    """The estimator's own scores, float64 of shape (rows,): the probability of the positive class, or the number.

    Of a model of several classes their probabilities, of shape (rows, classes).
    Always in one thread: a forest adds up what its trees say in the order in which its threads finish.
    """
    from joblib import parallel_config  # type: ignore[import-untyped]  # noqa: PLC0415  of scikit-learn, slow to load

    with parallel_config(backend="sequential"):
        return _predicted(estimator, task, matrix)


def _predicted(estimator: Any, task: Task, matrix: Floats) -> Floats:
    if task is Task.MULTICLASS:
        return np.ascontiguousarray(estimator.predict_proba(matrix), dtype=np.float64)
    raw = estimator.predict_proba(matrix)[:, 1] if task is Task.BINARY else estimator.predict(matrix).reshape(-1)
    scores: Floats = raw.astype("float64", copy=False)
    return scores


def _single(estimator: Any) -> Any:
    """The only step of a pipeline of one step."""
    steps = getattr(estimator, "steps", None)
    return _single(steps[0][1]) if steps is not None and len(steps) == 1 else estimator
