"""What is wrong with the limits of a definition's gates."""

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from scoring.contract.manifest import Task
from training.limits import GATES, METRICS

if TYPE_CHECKING:
    from training.definition import Gates, ModelDefinition


def gate_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    """Every mistake, a sentence each."""
    gates, task = definition.gates, definition.task
    if not gates.minimum and not gates.maximum:
        yield f"gates: state a minimum or maximum, such as {_example(task)}; without one any model would do"
    yield from _metric_mistakes(gates, task)
    yield from _margin_mistakes("not_worse", gates.not_worse, "margin")
    yield from _margin_mistakes("slice_margin", gates.slice_margin, "slice_margin")
    yield from _limit_mistakes(gates)
    yield from gates.load.mistakes()
    yield from gates.load.mistakes()
    yield from _switch_mistakes(gates)
    if (gates.slice_minimum or gates.slice_maximum or gates.slice_margin) and not definition.slices:
        yield 'gates: there are limits for slices but no slices; name them, such as slices=["country"]'


def _metric_mistakes(gates: "Gates", task: Task) -> Iterator[str]:
    minima, maxima = {*gates.minimum, *gates.slice_minimum}, {*gates.maximum, *gates.slice_maximum}
    for name in sorted({*minima, *maxima, *gates.not_worse, *gates.slice_margin}):
        metric = METRICS.get(name)
        if metric is None or task not in metric.tasks:
            choices = ", ".join(name for name, metric in METRICS.items() if task in metric.tasks)
            yield f"gates: {name!r} is no metric of a {task.value} model (there are: {choices})"
        elif name in minima and not metric.more_is_better:
            yield f"gates: less {name} is better, so give it a maximum"
        elif name in maxima and metric.more_is_better:
            yield f"gates: more {name} is better, so give it a minimum"
    for limits in (gates.minimum, gates.maximum, gates.slice_minimum, gates.slice_maximum):
        for name, limit in limits.items():
            if not math.isfinite(limit):
                yield f"gates: the limit of {name!r} must be a number, {limit} is none"


def _margin_mistakes(where: str, margins: Mapping[str, float], word: str) -> Iterator[str]:
    for name, margin in margins.items():
        if not 0 <= margin < math.inf:
            yield f"gates: the {word} of {name!r} must not be negative or infinite; leave {where} out for the default"


def _limit_mistakes(gates: "Gates") -> Iterator[str]:
    least, most = gates.rows_as_before
    rules = {
        "confidence must lie between 0.5 and 1, such as 0.95": 0.5 < gates.confidence < 1,
        "calibration must be positive": 0 < gates.calibration < math.inf,
        "newest_within must not be negative": gates.newest_within >= timedelta(0),
        "minimum_rows must be at least 1": gates.minimum_rows >= 1,
        "slice_rows must be at least 1": gates.slice_rows >= 1,
        "rows_as_before must be a share below 1 and one above, such as (0.9, 1.1)": 0 <= least <= 1 <= most < math.inf,
        "values_as_before must lie between 0 and 1": 0 <= gates.values_as_before <= 1,
        "thinnest_week must lie between 0 and 1; 0 lets weeks be empty": 0 <= gates.thinnest_week <= 1,
        "single_feature must lie above 0 and not above 1": 0 < gates.single_feature <= 1,
        "parity_tolerance must not be negative or infinite": 0 <= gates.parity_tolerance < math.inf,
    }
    yield from (f"gates: {sentence}" for sentence, holds in rules.items() if not holds)


def _switch_mistakes(gates: "Gates") -> Iterator[str]:
    own = [getattr(gate, "__name__", "") for gate in gates.own]
    names = [gate_name(name) for name in own]
    for gate, name in zip(gates.own, own, strict=True):
        if not name.isidentifier():  # a lambda, a partial, or no function at all
            yield f"gates: own: {gate!r} must be a function with a name, which is the gate's"
    for name in sorted({name for name in names if names.count(name) > 1 or name in GATES}):
        yield f"gates: own: there is more than one gate {name!r}"
    for name, reason in gates.off.items():
        if name not in {*GATES, *names}:
            yield f"gates: off: there is no gate {name!r} (there are: {', '.join([*GATES, *names])})"
        if name == "data":
            yield "gates: off: without data that hold its suite nothing is trained; loosen the suite instead"
        if not reason.strip():
            yield f"gates: off: say why {name!r} is turned off; every verdict repeats it"


def gate_name(function: str) -> str:
    """The name of a gate that is a definition's own function."""
    return function.strip("_").replace("_", "-")


def _example(task: Task) -> str:
    return 'maximum={"rmse": 5.0}' if task is Task.REGRESSION else 'minimum={"auc": 0.6}'
