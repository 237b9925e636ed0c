"""Gate: the snapshot satisfies its suite."""

from scoring.contract.verdict import Verdict
from training.gates.evidence import Evidence

NAME = "data"


def gate(evidence: Evidence) -> Verdict:
    """The suite's own verdict."""
    return evidence.validated.verdict
