"""A quick fit of the drafted definition: what it is worth, which columns look like leaks, and limits for its gates."""

import math
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from scoring.contract.encoder import Column, Floats
from scoring.contract.features import inputs_of
from scoring.contract.manifest import Task
from training.catalog import load_definition
from training.check.judging import TOO_GOOD
from training.compile import predict
from training.definition import ModelDefinition
from training.evidence import leaks
from training.limits import CALIBRATION, MINIMUM_ROWS, NEWEST_WITHIN, SINGLE_FEATURE, THINNEST_WEEK
from training.metrics import metrics_of
from training.rows import split, targets
from training.scaffold.plan import Plan, without_leaks
from training.scaffold.roles import Guess
from training.scaffold.writing import definition_of
from training.train import fit

# What a single feature may tell before it is taken for a leak; real ones reach much, but hardly this.
LEAK = {"auc": 0.99, "r2": 0.97}
# So much of what the model has more than the trivial baseline must remain.
_KEPT = 0.7
_A_DAY_S = 86_400.0
_DRAFT_GATES = {Task.BINARY: 'minimum={"auc": 0.5}', Task.MULTICLASS: 'minimum={"accuracy": 0.01}'}


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What a quick fit came to.

    Attributes:
        trivial: metrics of always saying the same.
        power: of each feature by itself.
    """

    metrics: Mapping[str, float]
    trivial: Mapping[str, float]
    power: Mapping[str, float]
    usable_rows: int


class Limits(NamedTuple):
    """Keywords of the gates as they are written, and why they are so."""

    keywords: tuple[str, ...]
    guesses: tuple[Guess, ...]


def fitted(plan: Plan, columns: Mapping[str, Column]) -> tuple[Plan, str | None]:
    """The plan with limits from a quick fit, and without columns that look like leaks; or why it could not be fitted.

    Args:
        columns: of the sample, by field.
    """
    drafted = msgspec.structs.replace(plan, gates=(_DRAFT_GATES.get(plan.roles.task, 'minimum={"r2": 0.0}'),))
    try:
        found, definition = _fit(drafted, columns)
        suspects = list(_suspects(found, definition))
        if suspects:
            drafted = without_leaks(drafted, [guess.value for guess in suspects])
            drafted = msgspec.structs.replace(drafted, guesses=(*drafted.guesses, *suspects))
            found, _ = _fit(drafted, columns)
    except _CannotFit as error:
        return drafted, str(error)
    limits = _limits(drafted, found, columns)
    return (
        msgspec.structs.replace(drafted, gates=limits.keywords, guesses=(*drafted.guesses, *limits.guesses)),
        None,
    )


class _CannotFit(Exception):
    """There is nothing to fit on or to judge with."""


def _fit(plan: Plan, columns: Mapping[str, Column]) -> tuple[Fit, ModelDefinition]:
    definition = _definition(plan)
    read = {name: columns[name] for name in {*(each.name for each in definition.fields), definition.label.column}}
    parts, wanted = split(definition, read, definition.holdout_start(plan.end)), targets(definition, read)
    learnt, judged = wanted[parts.training], wanted[parts.holdout]
    if len(np.unique(learnt)) < 2 or len(np.unique(judged)) < 2:
        raise _CannotFit(
            f"{len(learnt)} rows before the holdout and {len(judged)} within it are too few for a first fit: set the "
            "limits of the gates by hand"
        )
    model = fit(definition, read, parts.training, wanted)
    training, holdout = model.matrix[parts.training], model.matrix[parts.holdout]
    scores = predict(model.estimator, definition.task, holdout)
    power = leaks.power_of(definition.task, model.schema, training, learnt, holdout, judged)
    trivial = metrics_of(definition.task, _trivial(definition, learnt, len(judged)), judged)
    usable = int(parts.training.sum() + parts.holdout.sum() + parts.in_gap.sum())
    return (
        Fit(metrics=metrics_of(definition.task, scores, judged), trivial=trivial, power=power, usable_rows=usable),
        definition,
    )


def _definition(plan: Plan) -> ModelDefinition:
    with tempfile.TemporaryDirectory(prefix="baton-new-") as scratch:
        (Path(scratch) / f"{plan.name}.py").write_text(definition_of(plan), encoding="utf-8")
        return load_definition(Path(scratch), plan.name)


def _trivial(definition: ModelDefinition, learnt: Floats, rows: int) -> Floats:
    if definition.task is Task.MULTICLASS:
        shares = [float(np.mean(learnt == place)) for place in range(len(definition.label.classes))]
        return np.tile(shares, (rows, 1))
    return np.full(rows, float(learnt.mean()))


def _suspects(found: Fit, definition: ModelDefinition) -> Iterator[Guess]:
    """Columns that alone tell nearly all; the event time is not one of them."""
    measure = leaks.measure_of(definition.task)
    for feature in definition.features:
        if found.power.get(feature.name, 0.0) >= LEAK[measure]:
            why = f"alone it tells the label with {measure} {found.power[feature.name]:.3f}: a leak, by the looks of it"
            names = [name for name, _ in inputs_of(feature) if name != definition.event_time]
            yield from (Guess("known only after the event", name, why) for name in names)


def _limits(plan: Plan, found: Fit, columns: Mapping[str, Column]) -> Limits:
    quality, why = _quality(plan.roles.task, found)
    keywords, guesses = [quality], [Guess("gates", quality, why)]
    times = np.sort(np.asarray(columns[plan.roles.event_time.name], dtype=np.float64))
    guesses += _look_at(plan.roles.task, found)
    for keyword, reason in (*_of_rows(found), *_of_times(times[np.isfinite(times)])):
        keywords.append(keyword)
        guesses.append(Guess("gates", keyword, reason))
    return Limits(tuple(keywords), tuple(guesses))


def _quality(task: Task, found: Fit) -> tuple[str, str]:
    """The limit that a model must reach: some of the way from the trivial baseline to what the first fit reached."""
    metric = {Task.BINARY: "auc", Task.MULTICLASS: "accuracy", Task.REGRESSION: "r2"}[task]
    reached, base = found.metrics.get(metric, 0.0), max(0.0, found.trivial.get(metric, 0.0))
    limit = math.floor(100 * (base + _KEPT * max(0.0, reached - base))) / 100
    why = f"a quick fit reaches {metric} {reached:.3f} on the holdout, saying the same of everybody {base:.3f}"
    if reached <= base:
        why += ": as they are, these columns tell nothing of the label"
    return f'minimum={{"{metric}": {limit:g}}}', why


def _of_rows(found: Fit) -> Iterator[tuple[str, str]]:
    if found.usable_rows < 1.25 * MINIMUM_ROWS:
        least = max(1, int(0.8 * found.usable_rows))
        yield f"minimum_rows={least}", f"there are {found.usable_rows:,} usable rows; the default is {MINIMUM_ROWS:,}"
    if found.usable_rows < 2 * MINIMUM_ROWS:
        yield f"calibration={2 * CALIBRATION:g}", f"few rows cannot show a calibration error below {CALIBRATION:g}"


def _look_at(task: Task, found: Fit) -> Iterator[Guess]:
    """What is too good to be believed without a look; no limit is raised for it, so that the check asks again."""
    name, power = max(found.power.items(), key=lambda each: each[1], default=("", 0.0))
    if power > SINGLE_FEATURE:
        why = f"alone it reaches {power:.3f}: is it known at the event? If so, raise gates.single_feature above that"
        yield Guess("look at", name, why)
    metric, most = TOO_GOOD[task]
    if found.metrics.get(metric, 0.0) >= most:
        why = "that is too good to be true: which columns are known only after the event, by themselves or together?"
        yield Guess("look at", f"{metric} {found.metrics[metric]:.3f}", why)


def _of_times(times: Floats) -> Iterator[tuple[str, str]]:
    gap = timedelta(seconds=float(np.diff(times).max())) if len(times) > 1 else timedelta(0)
    if gap > NEWEST_WITHIN / 2:
        within = math.ceil(2 * gap / timedelta(days=1))
        yield f"newest_within=timedelta(days={within})", f"up to {gap.days} days pass without an event"
    thinnest = _thinnest_week(times)
    if thinnest < THINNEST_WEEK + 0.1:
        least = math.floor(10 * 0.7 * thinnest) / 10
        yield f"thinnest_week={least:g}", f"the thinnest week has {thinnest:.0%} of the median one's rows"


def _thinnest_week(times: Floats) -> float:
    """The fewest rows of any seven days as a share of the median; 1 where there are too few weeks to tell."""
    if len(times) == 0 or times[-1] - times[0] < 21 * _A_DAY_S:
        return 1.0
    starts = np.arange(times[0], times[-1] - 7 * _A_DAY_S, _A_DAY_S)
    rows = np.searchsorted(times, starts + 7 * _A_DAY_S) - np.searchsorted(times, starts)
    return float(rows.min() / max(1.0, float(np.median(rows))))
