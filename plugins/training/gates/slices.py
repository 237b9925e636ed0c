"""Gate: the candidate is not bad for some while it is good for all.

A slice is refused when it is *shown* to be bad: with dozens of small slices, one is worse by chance in every run. So
the confidence is shared among all tests of all slices (Bonferroni): the chance that any slice of an equally good model
is refused stays below one minus the confidence.
"""

import math
from collections.abc import Iterator

import msgspec
from scipy import special

from scoring.contract.verdict import Judgement, Verdict
from training.gates.evidence import Evidence, margins
from training.limits import METRICS, default_margin
from training.measured import Slice

NAME = "slices"


class _Test(msgspec.Struct, frozen=True):
    """One question to one slice.

    Attributes:
        excess: the measured distance from what is allowed; negative is worse.
        error: its standard error.
    """

    sentence: str
    excess: float
    error: float
    blocks: int

    @property
    def chance(self) -> float:
        """Of so bad a result, were the slice just what is allowed: by Student's t over the blocks."""
        if self.error <= 0 or self.blocks < 2:
            return 0.0 if self.excess < 0 and self.blocks >= 2 else 1.0
        return float(special.stdtr(self.blocks - 1, self.excess / self.error))


def gate(evidence: Evidence) -> Verdict:
    """No slice is shown to be worse than the champion's by more than the margin, or to miss a stated limit.

    Raises:
        NotMeasured: there is no usable baseline.
    """
    definition, found = evidence.definition, evidence.slices()
    if not definition.slices:
        return _verdict(None, 0.0, "the definition names no slices")
    tests = [test for each in found.judged for test in _tests(evidence, each)]
    small = f"{found.too_small} too small" + (f", {found.left_out} left out" if found.left_out else "")
    if not tests:
        return _verdict(None, 0.0, f"no slice has the {definition.gates.slice_rows:,} rows to be judged ({small})")
    limit = (1.0 - definition.gates.confidence) / len(tests)
    worst = min(tests, key=lambda test: (test.chance, test.excess))
    if worst.chance < limit:
        others = sum(test.chance < limit for test in tests) - 1
        more = f" (and {others} more)" if others else ""
        return _verdict(worst, limit, worst.sentence + more)
    return _verdict(worst, limit, f"none of {len(found.judged)} slices is shown to be worse ({small})")


def _tests(evidence: Evidence, found: Slice) -> Iterator[_Test]:
    gates, name = evidence.definition.gates, f"{found.of} {found.value!r} ({found.rows:,} rows)"
    wanted = list(gates.slice_margin) or margins(evidence)
    whose = "the champion's" if evidence.has_champion() else "the trivial baseline's"
    for each in found.comparisons:
        if each.metric in wanted:
            margin = gates.slice_margin.get(each.metric, default_margin(each.metric, each.baseline, of_slice=True))
            told = f"{each.metric} is {each.candidate:.4g}, {whose} {each.baseline:.4g}; {margin:.3g} worse is allowed"
            yield _Test(f"{name}: {told}", each.gain + margin, each.error, found.blocks)
    for metric, limit in {**gates.slice_minimum, **gates.slice_maximum}.items():
        if metric in found.metrics:
            sign = 1.0 if METRICS[metric].more_is_better else -1.0
            bound = "at least" if sign > 0 else "at most"
            told = f"{metric} is {found.metrics[metric]:.4g}, {bound} {limit:.4g} is required"
            excess = (found.metrics[metric] - limit) * sign
            yield _Test(f"{name}: {told}", excess, found.errors[metric], found.blocks)


def _verdict(worst: _Test | None, limit: float, sentence: str) -> Verdict:
    chance = 1.0 if worst is None else worst.chance
    return Verdict(
        gate=NAME,
        judgement=Judgement.FAIL if worst is not None and not chance >= limit else Judgement.PASS,
        sentence=sentence,
        value=None if worst is None or math.isnan(chance) else chance,
        limit=None if worst is None else limit,
    )
