"""The gates: each a small pure function from evidence to a verdict. All run, all are recorded, all must pass.

They fail closed: without evidence, without a baseline, or with an exception inside, a gate does not pass.
"""

from collections.abc import Mapping

import structlog

from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.gates import (
    baseline,
    calibration,
    data,
    freshness,
    leakage,
    load,
    parity,
    quality,
    slices,
    volume,
)
from training.gates.evidence import Evidence, Gate, NotMeasured
from training.gates.own import named, own_gates, switched
from training.refusals import ends_green
from training.results import Evaluated, Gated, RunRequest, Validated

log = structlog.get_logger(__name__)

GATES: Mapping[str, Gate] = {
    data.NAME: data.gate,
    freshness.NAME: freshness.gate,
    volume.NAME: volume.gate,
    leakage.NAME: leakage.gate,
    parity.NAME: parity.gate,
    load.NAME: load.gate,
    quality.NAME: quality.gate,
    baseline.NAME: baseline.gate,
    slices.NAME: slices.gate,
    calibration.NAME: calibration.gate,
}
# Why a candidate was accepted is told by these; the others' sentences stand in the verdicts.
_TOLD = (quality.NAME, baseline.NAME)


def judge(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,  # noqa: ARG001  every step takes the settings
    validated: Validated,
    evaluated: Evaluated | None,
) -> Gated:
    """Run every gate (see ``training.pipeline``)."""
    evidence = Evidence(definition=definition, validated=validated, evaluated=evaluated)
    gates = {**GATES, **own_gates(definition.gates)}
    found = (_verdict(name, gate, evidence) for name, gate in gates.items())
    verdicts = tuple(switched(verdict, definition.gates.off) for verdict in found)
    gated = Gated(
        verdicts=verdicts,
        sentence=_sentence(definition, verdicts, evaluated),
        red=any(_is_red(verdict) for verdict in verdicts),
        parent=None if evaluated is None else evaluated.baseline.sequence or 0,
    )
    log.info("candidate.judged", model=definition.name, run=request.run_id, accepted=gated.accepted, why=gated.sentence)
    return gated


def _verdict(name: str, gate: Gate, evidence: Evidence) -> Verdict:
    try:
        return named(name, gate(evidence))
    except NotMeasured as error:
        return Verdict(gate=name, judgement=Judgement.ERROR, sentence=str(error))
    except Exception as error:
        log.exception("gate.failed", gate=name, model=evidence.definition.name)
        return Verdict(gate=name, judgement=Judgement.ERROR, sentence=f"the gate itself failed: {error!r}")


def _is_red(verdict: Verdict) -> bool:
    """A model that is merely not good enough ends a run well; whatever else goes wrong, somebody has to look."""
    if verdict.lets_through:
        return False
    return verdict.judgement is Judgement.ERROR or not ends_green(verdict.gate)


def _sentence(definition: ModelDefinition, verdicts: tuple[Verdict, ...], evaluated: Evaluated | None) -> str:
    against = [verdict for verdict in verdicts if not verdict.lets_through]
    if not against:
        rows = evaluated.rows if evaluated else 0
        reasons = "; ".join(verdict.sentence for verdict in verdicts if verdict.gate in _TOLD)
        off = [verdict.gate for verdict in verdicts if verdict.judgement is Judgement.OFF]
        also = f"; turned off: {', '.join(off)}" if off else ""
        after = "; it scores after a refit on the holdout too" if definition.refit else ""
        return f"the candidate of {definition.name} is accepted: {reasons} ({rows:,} holdout rows){also}{after}"
    told = [verdict for verdict in against if verdict.judgement is Judgement.FAIL] or against
    reasons = "; ".join(f"{verdict.gate}: {verdict.sentence}" for verdict in told)
    return f"the candidate of {definition.name} is refused by {reasons}"
