"""Gate: the candidate is not worse than the champion on the same rows, or beats the trivial baseline where none is."""

import math

from scoring.contract.verdict import Judgement, Verdict
from training.definition import Gates
from training.gates.evidence import Evidence, NotMeasured
from training.mistakes import METRICS
from training.results import Baseline, BaselineKind

NAME = "not-worse"


def gate(evidence: Evidence) -> Verdict:
    """Every stated metric is at most its margin worse than the champion's; better than trivial for a first version.

    Raises:
        NotMeasured: there is no usable baseline.
    """
    evaluation = evidence.evaluation()
    if evaluation.baseline.error is not None:
        raise NotMeasured(evaluation.baseline.error)
    verdicts = [
        _compared(name, margin, evaluation.metrics.get(name, math.nan), evaluation.baseline)
        for name, margin in margins(evidence.definition.gates).items()
    ]
    failed = [verdict for verdict in verdicts if verdict.judgement is not Judgement.PASS]
    return failed[0] if failed else verdicts[0]


def margins(gates: Gates) -> dict[str, float]:
    """The stated margins; without any, no margin in the metrics that have a minimum or maximum."""
    return dict(gates.not_worse) or dict.fromkeys([*gates.minimum, *gates.maximum], 0.0)


def _compared(name: str, margin: float, value: float, baseline: Baseline) -> Verdict:
    reference = baseline.metrics.get(name, math.nan)
    gain = value - reference if METRICS[name].more_is_better else reference - value
    champion = baseline.kind is BaselineKind.CHAMPION
    holds = gain >= -margin if champion else gain > 0  # false for a NaN
    whose = f"champion {baseline.version}'s" if champion else "the trivial baseline's"
    rule = f"at most {margin:.4g} worse is allowed" if champion else "it must be better"
    limit = (reference - margin if METRICS[name].more_is_better else reference + margin) if champion else reference
    return Verdict(
        gate=NAME,
        judgement=Judgement.PASS if holds else Judgement.FAIL,
        sentence=f"{name} is {value:.4g}, {whose} is {reference:.4g} on the same rows; {rule}",
        value=value if math.isfinite(value) else None,
        limit=limit if math.isfinite(limit) else None,
    )
