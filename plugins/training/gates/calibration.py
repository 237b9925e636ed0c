"""Gate: scores mean what they say."""

from scoring.contract.manifest import Task
from scoring.contract.verdict import Judgement, Verdict
from training.gates.evidence import Evidence
from training.results import BaselineKind

NAME = "calibration"


def gate(evidence: Evidence) -> Verdict:
    """The calibration error is not shown to be beyond its limit, nor larger than the champion's on the same rows.

    A week of storms makes every forecast too low: days are resampled, and it is the lower bound that counts.

    When the base rate moves, every model is off; to refuse the newer one would keep the one that is off further.
    """
    found, stated = evidence.calibration(), evidence.definition.gates.calibration
    champions = _champions(evidence)
    limit = max(stated, champions)
    classes = evidence.definition.task is not Task.REGRESSION
    what = "the expected calibration error" if classes else "the mean error by tenths of the prediction"
    unit = "" if classes else " standard deviations of the label"
    least = found.error if found.low is None else found.low
    why = "" if champions <= stated else f", the champion's on the same rows ({stated:.3g} by itself)"
    surely = "" if found.low is None else f" (at least {found.low:.3g})"
    side = "high" if found.bias >= 0 else "low"
    return Verdict(
        gate=NAME,
        judgement=Judgement.PASS if least <= limit else Judgement.FAIL,  # false for a NaN
        sentence=(
            f"{what} is {found.error:.3g}{unit}{surely}, at most {limit:.3g} is allowed{why} "
            f"(predictions are {abs(found.bias):.3g} too {side} on average)"
        ),
        value=least,
        limit=limit,
    )


def _champions(evidence: Evidence) -> float:
    """The champion's error; 0 where there is none to compare with, so that the stated limit holds."""
    evaluation = evidence.evaluation()
    found = evaluation.baseline_calibration
    champion = evaluation.baseline.kind is BaselineKind.CHAMPION and evaluation.baseline.error is None
    return found.error if champion and found is not None else 0.0
