"""Pictures of the evidence, drawn without a display."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.measured import Calibration, Comparison, Slices
from training.results import Evaluated

_DOTS_PER_INCH = 100
# With more classes their names, and numbers, would cover the picture.
_NAMED = 12


def reliability(found: Calibration) -> bytes:
    """Mean outcome over mean score, bin by bin; the diagonal is a model that means what it says."""
    figure, axes = _empty("mean score", "mean outcome", f"calibration error {found.error:.3g}, bias {found.bias:.3g}")
    predicted, observed = [each.predicted for each in found.bins], [each.observed for each in found.bins]
    ends = [min(predicted + observed), max(predicted + observed)]
    axes.plot(ends, ends, color="grey", linewidth=1, linestyle="--")
    axes.plot(predicted, observed, marker="o")
    return _png(figure)


def roc(curves: Mapping[str, Sequence[tuple[float, float]]], evaluated: Evaluated) -> bytes:
    """The ROC curves of candidate and baseline on the same rows."""
    figure, axes = _empty("share of false positives", "share of true positives", "ROC on the holdout")
    areas = {"candidate": evaluated.metrics.get("auc"), "baseline": evaluated.baseline.metrics.get("auc")}
    names = {"candidate": "candidate", "baseline": evaluated.baseline.kind.value}
    for name, points in curves.items():
        area = areas.get(name)
        label = names.get(name, name) + ("" if area is None else f", area {area:.4f}")
        axes.plot([x for x, _ in points], [y for _, y in points], label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    axes.legend(loc="lower right")
    return _png(figure)


def one_versus_rest(curves: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """The ROC curve of each class against all others; names are told of the first few."""
    figure, axes = _empty("share of false positives", "share of true positives", "ROC of each class against the rest")
    for number, (name, points) in enumerate(curves.items()):
        label = name if number < _NAMED else f"_{name}"  # Matplotlib leaves out what begins like this
        axes.plot([x for x, _ in points], [y for _, y in points], label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    axes.legend(loc="lower right")
    return _png(figure)


def confusion(rows: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """How many holdout rows of each class got each label."""
    figure, axes = _empty("label", "class that came", "confusion on the holdout", height_in=6.0)
    axes.imshow(rows, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= _NAMED:
        most = max(map(max, rows), default=0)
        for y, row in enumerate(rows):
            for x, count in enumerate(row):
                color = "white" if 2 * count > most else "black"
                axes.text(x, y, f"{count:,}", ha="center", va="center", color=color)
    return _png(figure)


def gain(found: Comparison, resamples: Sequence[float]) -> bytes:
    """How much better the candidate is in each resample of the holdout, and the bounds that the gates go by."""
    figure, axes = _empty(f"gain in {found.metric}", "resamples", f"{found.metric}: gain {found.gain:.4g}")
    axes.hist(list(resamples), bins=30)
    axes.axvline(0.0, color="grey", linewidth=1)
    for bound in (found.low, found.high):
        if bound is not None:
            axes.axvline(bound, color="black", linewidth=1, linestyle="--")
    return _png(figure)


def slices(found: Slices) -> bytes:
    """The gain in each slice in its first metric, with two standard errors to each side."""
    rows = [(f"{each.of} {each.value}", each.comparisons[0]) for each in found.judged if each.comparisons]
    metric = rows[0][1].metric if rows else "nothing"
    figure, axes = _empty(f"gain in {metric}", "", "slices", height_in=max(3.0, 0.25 * len(rows) + 1.0))
    gains, errors = [each.gain for _, each in rows], [2 * each.error for _, each in rows]
    axes.errorbar(gains, range(len(rows)), xerr=errors, fmt="o")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.axvline(0.0, color="grey", linewidth=1)
    return _png(figure)


def _empty(x: str, y: str, title: str, height_in: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.0, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, title=title)
    return figure, axes


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()
