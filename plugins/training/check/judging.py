"""What suite and gates say about the sample, as findings with a line and a remedy; and the numbers behind them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from scoring.contract.features import Feature, inputs_of
from scoring.contract.manifest import Task
from scoring.contract.verdict import Judgement, Verdict
from training.check.findings import Finding, Judged, Level, Section
from training.check.outline import Outline
from training.check.rehearsal import Rehearsed
from training.definition import ModelDefinition
from training.gates import baseline, calibration, data, leakage, slices, volume

# What a sample says of these it may say because it is one.
_SHAKEN_BY_SAMPLING = frozenset({baseline.NAME, slices.NAME, calibration.NAME, volume.NAME})
# How the gate begins that has nothing else to say than what is told feature by feature.
_ONE_FEATURE = re.compile(r"feature '[^']*' alone predicts")
# From here on a whole model is too good to be believed without a look.
TOO_GOOD: Mapping[Task, tuple[str, float]] = {
    Task.BINARY: ("auc", 0.99),
    Task.MULTICLASS: ("accuracy", 0.99),
    Task.REGRESSION: ("r2", 0.98),
}
_REMEDIES = {
    "freshness": "raise gates.newest_within for data that come seldom, or mend what delivers them",
    "volume": "pull more history, or lower gates.minimum_rows or gates.thinnest_week",
    "parity": "use an estimator that compiles exactly, or raise gates.parity_tolerance",
    "load": "use a smaller model, or raise gates.load",
    "minimum-quality": "add features, or lower the limit to what the model is worth",
    "not-worse": "it is not shown to be better than saying the same of everybody: more rows, or other features",
    "slices": "look at the slice: is it rare, or another business?",
    "calibration": "raise gates.calibration where only the order of the scores counts",
}


def verdict_findings(done: Rehearsed, definition: ModelDefinition, outline: Outline, every: int) -> Iterator[Finding]:
    """A finding for each rule of the suite that does not hold, and for each gate that does not let through."""
    for sentence in done.validated.failed if done.validated else ():
        yield _of_suite(definition, sentence)
    yield from _leaks(done, definition, outline)
    yield from _too_good(done, definition, outline)
    for verdict in done.gated.verdicts if done.gated else ():
        told_before = {data.NAME} if done.validated and done.validated.failed else set()
        if not verdict.lets_through and verdict.gate not in told_before:
            yield from _of_gate(verdict, definition, outline, every)


def judged(done: Rehearsed, definition: ModelDefinition) -> Judged | None:
    """The numbers, where it came to them."""
    evaluated, gated = done.evaluated, done.gated
    if evaluated is None or gated is None:
        return None
    leaks = evaluated.leaks
    return Judged(
        verdicts=gated.verdicts,
        metrics=evaluated.metrics,
        baseline=evaluated.baseline.metrics,
        baseline_kind=evaluated.baseline.kind,
        power={} if leaks is None else dict(sorted(leaks.power.items(), key=lambda each: -each[1])),
        power_measure="" if leaks is None else leaks.measure,
        single_feature=definition.gates.single_feature,
        bundle_bytes=0 if done.bundle is None else sum(path.stat().st_size for path in done.bundle.iterdir()),
    )


def _of_suite(definition: ModelDefinition, sentence: str) -> Finding:
    suite = Path(definition.suite or "")
    missing = not suite.is_file()
    return Finding(
        section=Section.DATA,
        level=Level.ERROR,
        about="suite",
        sentence=f"there is no suite {suite}" if missing else f"the suite does not hold: {sentence}",
        remedy=f"`baton new {definition.name}` writes a first one" if missing else "mend the data, or loosen that rule",
        file=str(suite),
    )


def _leaks(done: Rehearsed, definition: ModelDefinition, outline: Outline) -> Iterator[Finding]:
    """Every feature that alone predicts the label too well, with the columns that it reads."""
    found = done.evaluated.leaks if done.evaluated else None
    limit = definition.gates.single_feature
    features = {feature.name: feature for feature in definition.features}
    for name, power in sorted((found.power if found else {}).items(), key=lambda each: -each[1]):
        if power > limit and found is not None:
            yield _leak(features[name], power, "R²" if found.measure == "r2" else "AUC", limit, outline)


def _too_good(done: Rehearsed, definition: ModelDefinition, outline: Outline) -> Iterator[Finding]:
    """Columns that give the answer away together, though none of them does alone."""
    metric, most = TOO_GOOD[definition.task]
    reached = done.evaluated.metrics.get(metric, 0.0) if done.evaluated else 0.0
    if reached >= most:
        yield Finding(
            section=Section.DATA,
            level=Level.WARNING,
            about=metric,
            sentence=f"the model reaches {metric} {reached:.3f} on the holdout: is that too good to be true?",
            remedy="look for columns that are known only after the event, also where two of them tell it together",
            file=outline.file,
            line=outline.line_of("features"),
        )


def _leak(feature: Feature, power: float, measure: str, limit: float, outline: Outline) -> Finding:
    columns = " and ".join(repr(name) for name, _ in inputs_of(feature))
    reads = "" if columns == repr(feature.name) else f" (it reads {columns})"
    return Finding(
        section=Section.DATA,
        level=Level.ERROR,
        about=feature.name,
        sentence=f"feature {feature.name!r}{reads} alone predicts the label with {measure} {power:.3f}: is it a leak?",
        remedy=f"if {columns} is not known at the event, say so with known_after and take the feature out; if it is, "
        f"raise gates.single_feature above {limit:g}",
        file=outline.file,
        line=outline.line_of("features", feature.name, *(name for name, _ in inputs_of(feature))),
    )


def _of_gate(verdict: Verdict, definition: ModelDefinition, outline: Outline, every: int) -> Iterator[Finding]:
    if verdict.gate == leakage.NAME and _ONE_FEATURE.match(verdict.sentence):
        return  # told feature by feature
    shaken = every > 1 and verdict.gate in _SHAKEN_BY_SAMPLING and verdict.judgement is Judgement.FAIL
    also = f" (of one row in {every}; --sample 0 takes all)" if shaken else ""
    yield Finding(
        section=Section.GATES,
        level=Level.WARNING if shaken else Level.ERROR,
        about=verdict.gate,
        sentence=f"the gate {verdict.gate} refuses the candidate: {verdict.sentence}{also}",
        remedy=_REMEDIES.get(verdict.gate, ""),
        file=outline.file,
        line=outline.line_of("gates", *_keywords(verdict, definition)),
    )


def _keywords(verdict: Verdict, definition: ModelDefinition) -> list[str]:
    """The keyword of the gates whose limit it was, where one is written out."""
    metrics = [*definition.gates.minimum, *definition.gates.maximum]
    named = {"freshness": ["newest_within"], "volume": ["thinnest_week", "minimum_rows"], "load": ["load"]}
    return [*named.get(verdict.gate, []), *(name for name in metrics if name in verdict.sentence)]
