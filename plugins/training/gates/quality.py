"""Gate: the candidate is good enough in itself."""

import math

from scoring.contract.verdict import Judgement, Verdict
from training.gates.evidence import Evidence
from training.measured import Range

NAME = "minimum-quality"


def gate(evidence: Evidence) -> Verdict:
    """Every stated minimum and maximum holds on the holdout; a metric that could not be measured does not."""
    limits, metrics = evidence.definition.gates, evidence.evaluation().metrics
    rules = [(name, limit, 1.0) for name, limit in limits.minimum.items()]
    rules += [(name, limit, -1.0) for name, limit in limits.maximum.items()]
    intervals = evidence.evaluation().intervals
    verdicts = [
        _held_against(name, metrics.get(name, math.nan), limit, sign, intervals.get(name))
        for name, limit, sign in rules
    ]
    failed = [verdict for verdict in verdicts if verdict.judgement is not Judgement.PASS]
    return failed[0] if failed else verdicts[0]


def _held_against(name: str, value: float, limit: float, sign: float, interval: Range | None) -> Verdict:
    holds = value * sign >= limit * sign  # false for a NaN
    bound = "at least" if sign > 0 else "at most"
    known = interval is not None and interval.low is not None and interval.high is not None
    between = f" ({interval.low:.4g} to {interval.high:.4g})" if known and interval else ""
    return Verdict(
        gate=NAME,
        judgement=Judgement.PASS if holds else Judgement.FAIL,
        sentence=f"{name} is {value:.4g}{between}, {bound} {limit:.4g} is required",
        value=value if math.isfinite(value) else None,
        limit=limit,
    )
