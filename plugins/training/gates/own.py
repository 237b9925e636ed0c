"""A definition's switches: gates that it turns off, and gates of its own."""

from collections.abc import Mapping

import msgspec

from scoring.contract.verdict import Judgement, Verdict
from training.definition import Gates
from training.gate_mistakes import gate_name
from training.gates.evidence import Gate


def own_gates(gates: Gates) -> dict[str, Gate]:
    """The definition's own gates by the names of their functions."""
    return {gate_name(gate.__name__): gate for gate in gates.own}


def named(name: str, verdict: object) -> Verdict:
    """What a definition's own gate returned, under the gate's name.

    Raises:
        TypeError: it is no verdict.
    """
    if not isinstance(verdict, Verdict):
        raise TypeError(f"a gate must return a Verdict, this one returned {verdict!r}")
    if verdict.judgement is Judgement.OFF:
        raise TypeError("a gate cannot turn itself off; the definition does, with off={...}")
    return msgspec.structs.replace(verdict, gate=name)


def switched(verdict: Verdict, off: Mapping[str, str]) -> Verdict:
    """The verdict, or that the gate is turned off, why, and what it would have said."""
    reason = off.get(verdict.gate)
    if reason is None:
        return verdict
    sentence = f"turned off ({reason.strip()}); it would have said {verdict.judgement.value}: {verdict.sentence}"
    return msgspec.structs.replace(verdict, judgement=Judgement.OFF, sentence=sentence)
