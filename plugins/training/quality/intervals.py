"""What the registry's runs say of each interval, the newest run of each."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from scoring.contract.errors import ConfigurationError
from scoring.registry.port import RunInfo
from training.results import BaselineKind

LIMIT_RUNS = 1_000
_LOW, _HIGH, _GAIN = "_low", "_high", "_gain"


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """One run, by the holdout ``[start, end)`` on which its candidate was measured.

    Attributes:
        trained_from: event time at which its data begin.
        value: of the metric; None where nothing was evaluated.
        low, high: the metric's interval at the confidence of the definition.
        baseline: the same metric of what it was held against, on the same rows.
        against: ``champion`` or ``trivial``.
        outcome: ``accepted`` or ``refused``.
        sentence: why.
        run: the pipeline's run id.
    """

    start: datetime
    end: datetime
    trained_from: datetime
    purpose: str
    outcome: str
    sentence: str
    run: str
    at: datetime
    rows: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    against: str | None = None


def metrics_in(runs: Iterable[RunInfo]) -> list[str]:
    """The metrics of the runs that can be drawn, those that the gates compare first."""
    names: dict[str, bool] = {}
    for run in runs:
        for name in run.metrics:
            if name.endswith(_LOW) and not name.endswith(f"{_GAIN}{_LOW}"):
                metric = name.removesuffix(_LOW)
                names[metric] = names.get(metric, False) or f"{metric}{_GAIN}" in run.metrics
    return sorted(names, key=lambda name: (not names[name], name))


def intervals(runs: Iterable[RunInfo], metric: str | None = None) -> tuple[str, list[Interval]]:
    """The metric, and what each interval's newest run measured, in order of the holdouts.

    Args:
        runs: as ``recent_runs`` gives them.
        metric: None takes the first of ``metrics_in``.

    Raises:
        ConfigurationError: no run has this metric.
    """
    known = list(runs)
    names = metrics_in(known)
    chosen = metric or next(iter(names), None)
    if chosen is None or (names and chosen not in names):
        there = ", ".join(names) or "none: no candidate was evaluated yet"
        raise ConfigurationError(f"there is no metric {metric or 'to show'} in these runs; there is {there}")
    newest: dict[tuple[str, str], RunInfo] = {}
    for run in sorted(known, key=lambda each: each.started_at):
        if "holdout_start" in run.params:
            newest[run.params["data_start"], run.params["data_end"]] = run
    found = [_interval(run, chosen) for run in newest.values()]
    return chosen, sorted(found, key=lambda each: (each.end, each.trained_from))


def _interval(run: RunInfo, metric: str) -> Interval:
    params, metrics = run.params, run.metrics
    kind = next((each.value for each in BaselineKind if f"{each.value}_{metric}" in metrics), None)
    return Interval(
        start=datetime.fromisoformat(params["holdout_start"]),
        end=datetime.fromisoformat(params["data_end"]),
        trained_from=datetime.fromisoformat(params["data_start"]),
        purpose=run.tags.get("baton.purpose", "promotion"),
        outcome=run.tags.get("baton.outcome", ""),
        sentence=run.tags.get("baton.sentence", ""),
        run=run.tags.get("baton.run_id", run.run_id),
        at=run.started_at,
        rows=_whole(params, "holdout_rows"),
        value=metrics.get(metric),
        low=metrics.get(f"{metric}{_LOW}"),
        high=metrics.get(f"{metric}{_HIGH}"),
        baseline=None if kind is None else metrics[f"{kind}_{metric}"],
        against=kind,
    )


def _whole(params: Mapping[str, str], name: str) -> int | None:
    return int(params[name]) if name in params else None
