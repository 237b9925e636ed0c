"""Evidence made by hand: all of it good, to be changed where a test needs it otherwise."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.verdict import Judgement, Verdict
from scoring.scorer.probed import BatchTime, Probed
from tests.support.training import END, START, definition
from training.definition import Gates
from training.gates.evidence import Evidence
from training.limits import METRICS
from training.measured import (
    Bin,
    Calibration,
    Comparison,
    DataFacts,
    LeakFacts,
    Range,
    Resampling,
    SharedPeriod,
    Slice,
    Slices,
)
from training.results import Baseline, BaselineKind, Evaluated, LoadProbe, Parity, Validated

PASSED = Verdict(gate="data", judgement=Judgement.PASS, sentence="fine")
TRIVIAL = Baseline(kind=BaselineKind.TRIVIAL, metrics={"rmse": 9.0})
CHAMPION = Baseline(kind=BaselineKind.CHAMPION, metrics={"rmse": 4.0}, version="3", sequence=7)
EQUAL = Parity(exact=False, tolerance=1e-5, rows=100, different_rows=4, largest_difference=1e-6, changed_decisions=0)
EXACT = Parity(exact=True, tolerance=0.0, rows=100, different_rows=0, largest_difference=0.0, changed_decisions=0)
LIMITS = Gates(maximum={"rmse": 5.0}, not_worse={"rmse": 0.5})
RESAMPLING = Resampling(unit="day", blocks=30, resamples=1_000, confidence=0.95)
VERSIONS = {"baton": "0.1.0", "numpy": "2.0.0", "onnxruntime": "1.20.0"}
LABELS_END = END - timedelta(hours=1)


def comparison(metric: str = "rmse", candidate: float = 4.2, baseline: float = 4.0, error: float = 0.05) -> Comparison:
    """Candidate and baseline in a metric, with bounds two standard errors away."""
    gain = (candidate - baseline) * (1.0 if METRICS[metric].more_is_better else -1.0)
    return Comparison(
        metric=metric,
        candidate=candidate,
        baseline=baseline,
        gain=gain,
        low=gain - 2 * error,
        high=gain + 2 * error,
        error=error,
    )


def a_slice(value: str = "north", gain: float = 0.0, error: float = 0.05, **changes: Any) -> Slice:
    """A slice in which the champion has a rmse of 4."""
    values: dict[str, Any] = {
        "of": "depot",
        "value": value,
        "rows": 400,
        "blocks": 30,
        "metrics": {"rmse": 4.0 - gain},
        "errors": {"rmse": error},
        "comparisons": (comparison(candidate=4.0 - gain, error=error),),
    }
    return Slice(**{**values, **changes})


def data(**changes: Any) -> DataFacts:
    """Thirteen weeks of 500 rows."""
    values: dict[str, Any] = {
        "rows": 6_500,
        "usable_rows": 6_490,
        "end": END,
        "labels_end": LABELS_END,
        "first_event": START,
        "newest_event": END - timedelta(minutes=5),
        "newest_usable_event": LABELS_END - timedelta(minutes=5),
        "weeks": 13,
        "median_week_rows": 500.0,
        "thinnest_week_rows": 450,
        "thinnest_week_start": START,
    }
    return DataFacts(**{**values, **changes})


def leaks(**changes: Any) -> LeakFacts:
    """Nothing leaks."""
    values: dict[str, Any] = {
        "measure": "r2",
        "power": {"miles": 0.6},
        "shared_keys": 0,
        "newest_training_event": datetime(2024, 2, 29, 22, tzinfo=START.tzinfo),
        "labels_known_before": datetime(2024, 2, 29, 23, tzinfo=START.tzinfo),
    }
    return LeakFacts(**{**values, **changes})


def load(**changes: Any) -> LoadProbe:
    """A bundle that loads quickly."""
    batches = tuple(
        BatchTime(records=size, runs=9, p50_ms=0.1, p99_ms=0.2, wall_p50_ms=0.1, wall_p99_ms=0.2)
        for size in (1, 64, 1_024, 4_096)
    )
    values: dict[str, Any] = {
        "load_s": 0.1,
        "resident_bytes": 10**8,
        "peak_bytes": 10**8,
        "bundle_bytes": 10**6,
        "first_prediction_ms": 1.0,
        "batches": batches,
        "versions": VERSIONS,
    }
    return LoadProbe(built_for=VERSIONS, probed=Probed(**{**values, **changes}))


def evaluated(rmse: float | None = 4.2, **changes: Any) -> Evaluated:
    """A regression whose candidate has this error, the champion 4."""
    values: dict[str, Any] = {
        "metrics": {} if rmse is None else {"rmse": rmse},
        "baseline": CHAMPION,
        "parity": EQUAL,
        "rows": 100,
        "intervals": {} if rmse is None else {"rmse": Range(rmse - 0.1, rmse + 0.1)},
        "resampling": RESAMPLING,
        "comparisons": () if rmse is None else (comparison(candidate=rmse),),
        "calibration": Calibration(bins=(Bin(rows=100, predicted=10.0, observed=10.1),), error=0.02, bias=-0.1),
        "slices": Slices(),
        "leaks": leaks(),
        "shared_period": SharedPeriod(version="3", start=START, end=END, rows_then=1_000, rows_now=1_000),
        "load": load(),
    }
    return Evaluated(**{**values, **changes})


def against_trivial(rmse: float) -> Evaluated:
    """A first version, held against a mean with an error of 9."""
    return evaluated(
        rmse, baseline=TRIVIAL, comparisons=(comparison(candidate=rmse, baseline=9.0),), shared_period=None
    )


def validated(**changes: Any) -> Validated:
    """Data that hold their suite."""
    return Validated(**{"verdict": PASSED, "expectations": 3, "data": data(), **changes})


def evidence(found: Evaluated | None, checked: Validated | None = None, **changes: Any) -> Evidence:
    """The evidence about a candidate of the small definition, with changes of the definition."""
    made = definition(**{"gates": LIMITS, **changes})
    return Evidence(definition=made, validated=checked or validated(), evaluated=found)


def changed(found: Evaluated, **changes: Any) -> Evaluated:
    """With other values."""
    return msgspec.structs.replace(found, **changes)


def made_up(seed: int, rows: int, classes: int, signal: float = 1.0) -> tuple[Floats, Floats]:
    """Probabilities of shape (rows, classes), with ties, and the places of the classes that came."""
    random = np.random.default_rng(seed)
    raw = np.round(random.normal(size=(rows, classes)), 1)
    targets = random.integers(0, classes, rows)
    raw[np.arange(rows), targets] += signal
    powers = np.exp(raw)
    found: Floats = powers / powers.sum(axis=1, keepdims=True)
    return found, targets.astype(np.float64)
