"""Gate: the compiled model scores as the estimator does, over the whole holdout."""

import msgspec

from scoring.contract.verdict import Judgement, Verdict
from training.gates.evidence import Evidence, NotMeasured
from training.results import Parity

NAME = "parity"


def gate(evidence: Evidence) -> Verdict:
    """Bit for bit where the model was compiled exactly; otherwise within the tolerance. No decision may change.

    A model that was fitted on the holdout too was compiled by itself, and is held to the same.
    """
    evaluation = evidence.evaluation()
    judged, refitted = _compared(evaluation.parity), evaluation.refit_parity
    if evidence.definition.refit and refitted is None:
        raise NotMeasured("not measured: the refitted model was not compared with its estimator")
    if refitted is None or judged.judgement is not Judgement.PASS:
        return judged
    again = _compared(refitted)
    return msgspec.structs.replace(again, sentence=f"refitted on the holdout: {again.sentence}")


def _compared(found: Parity) -> Verdict:
    limit = 0.0 if found.exact else found.tolerance
    problem = _problem(found, limit)
    agreed = (
        "equal bit for bit" if found.exact else f"equal within {found.largest_difference:.2g} ({limit:.2g} allowed)"
    )
    return Verdict(
        gate=NAME,
        judgement=Judgement.PASS if problem is None else Judgement.FAIL,
        sentence=problem or f"the compiled model and the estimator are {agreed} on {found.rows:,} rows",
        value=found.largest_difference,
        limit=limit,
    )


def _problem(found: Parity, limit: float) -> str | None:
    if found.largest_difference is None:
        return "the compiled model gives scores that are not numbers, or not one for each row"
    if found.exact and found.different_rows:
        return (
            f"{found.different_rows:,} of {found.rows:,} scores are not those of the estimator bit for bit "
            f"(largest difference {found.largest_difference:.2g}, {found.changed_decisions:,} decisions changed)"
        )
    if found.largest_difference > limit:
        return (
            f"the compiled model differs from the estimator by up to {found.largest_difference:.2g}, {limit:.2g} is "
            f"allowed ({found.changed_decisions:,} decisions changed)"
        )
    if found.changed_decisions:
        return f"the compiled model decides {found.changed_decisions:,} of {found.rows:,} rows otherwise"
    return None
