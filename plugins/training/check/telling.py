"""The answer of a check for people in a terminal."""

from collections.abc import Iterator

from scoring.contract.verdict import Judgement
from training.check.findings import Checked, Finding, Judged, Level, Sampled, Section, count

_SIGNS = {Level.ERROR: "✗", Level.WARNING: "!", Level.NOTE: "·"}
_JUDGEMENTS = {Judgement.PASS: "✓", Judgement.FAIL: "✗", Judgement.ERROR: "✗", Judgement.OFF: "·"}


def lines(checked: Checked) -> Iterator[str]:
    """Section by section: what was looked at, what was found, what to do."""
    task = f", a {checked.task} model" if checked.task else ""
    yield f"{checked.model}{task} ({checked.file})"
    for section in Section:
        found = [finding for finding in checked.findings if finding.section is section]
        about = list(_looked_at(section, checked))
        if found or about:
            yield ""
            yield section.value.capitalize()
            yield from (f"  {line}" for line in about)
            for finding in found:
                yield from _told(finding)
    yield ""
    yield from _ending(checked)


def summary(checked: Checked) -> str:
    """One sentence."""
    errors, warnings = count(checked.findings, Level.ERROR), count(checked.findings, Level.WARNING)
    if errors:
        also = f", {_plural(warnings, 'warning')}" if warnings else ""
        return f"{_plural(errors, 'mistake')} to mend{also}"
    return f"fine, with {_plural(warnings, 'warning')} to look at" if warnings else "fine"


def _told(finding: Finding) -> Iterator[str]:
    yield f"  {_SIGNS[finding.level]} {finding.sentence}"
    if finding.place:
        yield f"      at {finding.place}"
    if finding.remedy:
        yield f"      → {finding.remedy}"


def _looked_at(section: Section, checked: Checked) -> Iterator[str]:
    if section is Section.DEFINITION and not any(each.section is section for each in checked.findings):
        yield "✓ it loads"
    if section is Section.DATA and checked.sample is not None:
        yield _sample(checked.sample)
    if section is Section.SPLIT and checked.sample is not None and checked.sample.training_rows is not None:
        sample = checked.sample
        yield (
            f"{sample.training_rows:,} rows to train on, {sample.holdout_rows or 0:,} held out from "
            f"{sample.holdout_start:%Y-%m-%d}"
        )
    if section is Section.GATES and checked.judged is not None:
        yield from _judged(checked.judged)
    if section is Section.SCORING and checked.drawn is not None:
        yield f"a bundle of {(checked.judged.bundle_bytes if checked.judged else 0) / 1000:,.0f} kB scored JSON records"


def _sample(sample: Sampled) -> str:
    which = "all" if sample.every == 1 else f"one in {sample.every}"
    return (
        f"{sample.rows:,} rows of {sample.start:%Y-%m-%d} to {sample.end:%Y-%m-%d}; looked at {which} "
        f"({sample.sampled:,})"
    )


def _judged(judged: Judged) -> Iterator[str]:
    for name, value in judged.metrics.items():
        if name in judged.baseline:
            yield f"{name} {value:.4g} ({judged.baseline_kind.value} baseline {judged.baseline[name]:.4g})"
    best = next(iter(judged.power.items()), None)
    if best is not None:
        yield f"strongest feature by itself: {best[0]}, {judged.power_measure} {best[1]:.3f}"
    yield "  ".join(f"{_JUDGEMENTS[verdict.judgement]} {verdict.gate}" for verdict in judged.verdicts)


def _ending(checked: Checked) -> Iterator[str]:
    seconds = sum(checked.steps.values())
    yield f"{checked.model}: {summary(checked)} ({seconds:.1f} s)"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
