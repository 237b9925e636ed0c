"""Gate: the candidate is not worse than the champion on the same rows, or beats the trivial baseline where none is.

Not worse is to be shown, not to be assumed: the bound above which the true gain lies at the stated confidence must be
above minus the margin (a test of non-inferiority). A small holdout proves little and refuses much.
"""

from scoring.contract.verdict import Judgement, Verdict
from training.gates.evidence import Evidence, NotMeasured, margins
from training.limits import default_margin
from training.measured import Comparison

NAME = "not-worse"


def gate(evidence: Evidence) -> Verdict:
    """In every metric with a margin the candidate is less than that worse; better, for a first version.

    Raises:
        NotMeasured: there is no usable baseline, or a metric has no value.
    """
    compared = [evidence.comparison(name) for name in margins(evidence)]
    verdicts = [_held_against(evidence, each) for each in compared]
    failed = [verdict for verdict in verdicts if verdict.judgement is not Judgement.PASS]
    return failed[0] if failed else verdicts[0]


def _held_against(evidence: Evidence, found: Comparison) -> Verdict:
    evaluation, gates = evidence.compared(), evidence.definition.gates
    resampling = evaluation.resampling
    if found.low is None or resampling is None:
        raise NotMeasured(f"not measured: the holdout is too small to compare {found.metric} with any confidence")
    champion = evidence.has_champion()
    margin = gates.not_worse.get(found.metric, default_margin(found.metric, found.baseline)) if champion else 0.0
    whose = f"champion {evaluation.baseline.version}'s" if champion else "the trivial baseline's"
    rule = f"less than {margin:.4g} worse is required" if champion and margin else "better is required"
    return Verdict(
        gate=NAME,
        judgement=Judgement.PASS if found.low > -margin else Judgement.FAIL,
        sentence=(
            f"{found.metric} is {found.candidate:.4g}, {whose} is {found.baseline:.4g} on the same rows: "
            f"{_words(found.gain)}, at {resampling.confidence:.0%} confidence at worst {_words(found.low)} "
            f"({resampling.blocks} {resampling.unit}s resampled); {rule}"
        ),
        value=found.low,
        limit=-margin,
    )


def _words(gain: float) -> str:
    return f"{abs(gain):.3g} {'better' if gain >= 0 else 'worse'}"
