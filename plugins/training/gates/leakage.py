"""Gate: nothing that the model reads gives the answer away, and no row that judges it was trained on."""

from collections.abc import Iterator

from scoring.contract.features import inputs_of
from scoring.contract.verdict import Judgement, Verdict
from training.definition import ModelDefinition
from training.gates.evidence import Evidence

NAME = "leakage"


def gate(evidence: Evidence) -> Verdict:
    """Every feature is known at the event, none predicts implausibly well, and training ends before the holdout."""
    found, limit = evidence.leaks(), evidence.definition.gates.single_feature
    best, power = max(found.power.items(), key=lambda each: each[1], default=("none", 0.0))
    leaks = [*_late(evidence.definition)]
    if found.newest_training_event >= found.labels_known_before:
        leaks.append(
            f"it was trained on events up to {found.newest_training_event:%Y-%m-%d %H:%M}, whose labels were not known "
            f"when the holdout began (events before {found.labels_known_before:%Y-%m-%d %H:%M} are allowed)"
        )
    if found.shared_keys:
        leaks.append(f"{found.shared_keys:,} rows of the holdout have the key of a training row")
    if not power <= limit:
        leaks.append(
            f"feature {best!r} alone predicts the holdout with {_measure(found.measure)} {power:.3f}; above {limit:g} "
            "that is implausible: is it known at the event?"
        )
    plausible = f"the strongest single feature, {best}, reaches {_measure(found.measure)} {power:.3f}"
    return Verdict(
        gate=NAME,
        judgement=Judgement.FAIL if leaks else Judgement.PASS,
        sentence="; ".join(leaks or [plausible, *_warnings(evidence.definition)]),
        value=power,
        limit=limit,
    )


def _late(definition: ModelDefinition) -> Iterator[str]:
    """A definition with such a feature is refused when it is loaded; this is the second lock."""
    late = {field.name for field in definition.fields if field.known_after_s > 0}
    for feature in definition.features:
        for column, _ in inputs_of(feature):
            if column in late:
                yield f"feature {feature.name!r} reads {column!r}, which is known only after the event"


def _warnings(definition: ModelDefinition) -> Iterator[str]:
    only_valid = [lookup.name for lookup in definition.lookups if lookup.known_at is None]
    if only_valid:
        names = ", ".join(only_valid)
        yield f"warning: {names} is valid-time only: no column says when a row became known, so a correction could leak"


def _measure(name: str) -> str:
    return "AUC" if name == "auc" else "R²"
