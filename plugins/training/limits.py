"""The metrics and gates by name, and the limits that hold where a definition states none. Imports no library for data.

The defaults were fixed before the table of faults (``tests/integration/training/test_gate_table.py``) was first run;
docs/explanation/evidence-and-gates.md says which the table then forced to change.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from scoring.contract.manifest import Task

CONFIDENCE = 0.95
PARITY_TOLERANCE = 1e-5
NEWEST_WITHIN = timedelta(days=3)
MINIMUM_ROWS = 1_000
ROWS_AS_BEFORE = (0.9, 1.1)
THINNEST_WEEK = 0.5
VALUES_AS_BEFORE = 0.9
SINGLE_FEATURE = 0.85
SLICE_ROWS = 200
CALIBRATION = 0.1


class Metric(NamedTuple):
    """A metric of the evaluation.

    Attributes:
        tasks: the kinds of model that have it.
        margin: by how much it may be worse than the champion's where the definition states nothing.
        slice_margin: the same for a slice.
        relative: the margins are shares of the baseline's value, because the metric is in the label's units.
    """

    tasks: frozenset[Task]
    more_is_better: bool
    margin: float
    slice_margin: float
    relative: bool


_CLASSES = frozenset({Task.BINARY, Task.MULTICLASS})
_NUMBERS = frozenset({Task.REGRESSION})
METRICS: Mapping[str, Metric] = {
    "auc": Metric(_CLASSES, more_is_better=True, margin=0.02, slice_margin=0.05, relative=False),
    "log_loss": Metric(_CLASSES, more_is_better=False, margin=0.02, slice_margin=0.1, relative=True),
    "brier": Metric(_CLASSES, more_is_better=False, margin=0.02, slice_margin=0.1, relative=True),
    "accuracy": Metric(
        frozenset({Task.MULTICLASS}), more_is_better=True, margin=0.02, slice_margin=0.05, relative=False
    ),
    "r2": Metric(_NUMBERS, more_is_better=True, margin=0.02, slice_margin=0.05, relative=False),
    "mae": Metric(_NUMBERS, more_is_better=False, margin=0.02, slice_margin=0.1, relative=True),
    "rmse": Metric(_NUMBERS, more_is_better=False, margin=0.02, slice_margin=0.1, relative=True),
}

GATES = (
    "data",
    "freshness",
    "volume",
    "leakage",
    "parity",
    "load",
    "minimum-quality",
    "not-worse",
    "slices",
    "calibration",
)


def default_margin(name: str, baseline: float, *, of_slice: bool = False) -> float:
    """The margin of a metric for which the definition states none, in the metric's units.

    Args:
        baseline: the metric's value for the champion, on the same rows.
    """
    metric = METRICS[name]
    margin = metric.slice_margin if of_slice else metric.margin
    return margin * abs(baseline) if metric.relative else margin
