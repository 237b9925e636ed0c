"""What the gates judge."""

from collections.abc import Callable

import msgspec

from scoring.contract.errors import BatonError
from scoring.contract.verdict import Verdict
from training.definition import ModelDefinition
from training.measured import Calibration, Comparison, DataFacts, LeakFacts, Slices
from training.results import BaselineKind, Evaluated, Validated


class NotMeasured(BatonError):
    """There is no evidence for a gate; the message says why."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about a candidate. Its methods raise NotMeasured where something was not measured.

    Attributes:
        evaluated: None where nothing was trained.
    """

    definition: ModelDefinition
    validated: Validated
    evaluated: Evaluated | None

    def data(self) -> DataFacts:
        """What the snapshot holds; also where its suite refuses it."""
        if self.validated.data is None:
            raise NotMeasured("not measured: the snapshot was not looked at")
        return self.validated.data

    def evaluation(self) -> Evaluated:
        """The measurements on the holdout."""
        if self.evaluated is None:
            raise NotMeasured("not measured: nothing was trained, for the snapshot was refused or too small")
        if self.evaluated.rows < 1:
            raise NotMeasured("not measured: the holdout has no rows")
        return self.evaluated

    def comparison(self, metric: str) -> Comparison:
        """Candidate and baseline in a metric, on the same rows."""
        evaluation = self.compared()
        found = next((each for each in evaluation.comparisons if each.metric == metric), None)
        if found is None:
            raise NotMeasured(f"not measured: {metric} has no value on the {evaluation.rows:,} rows of the holdout")
        return found

    def compared(self) -> Evaluated:
        """The measurements, of a candidate that could be held against a baseline."""
        evaluation = self.evaluation()
        if evaluation.baseline.error is not None:
            raise NotMeasured(evaluation.baseline.error)
        return evaluation

    def has_champion(self) -> bool:
        """Whether the baseline is a champion, not the trivial one."""
        return self.compared().baseline.kind is BaselineKind.CHAMPION

    def calibration(self) -> Calibration:
        """The reliability of the scores."""
        found = self.evaluation().calibration
        if found is None:
            raise NotMeasured("not measured: there are scores that are not numbers")
        return found

    def slices(self) -> Slices:
        """The slices that the definition names."""
        found = self.compared().slices
        if found is None:
            raise NotMeasured("not measured: the slices were not looked at")
        return found

    def leaks(self) -> LeakFacts:
        """What would give the answer away."""
        found = self.evaluation().leaks
        if found is None:
            raise NotMeasured("not measured: nobody looked for leaks")
        return found


Gate = Callable[[Evidence], Verdict]


def margins(evidence: Evidence) -> list[str]:
    """The metrics in which candidate and baseline are compared: those with a margin, else those with a limit."""
    gates = evidence.definition.gates
    return list(gates.not_worse) or list(dict.fromkeys([*gates.minimum, *gates.maximum]))
