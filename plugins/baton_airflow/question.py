"""The question to the person who approves a promotion: its words and numbers, and what the answer means."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from scoring.contract.clock import rfc3339
from scoring.contract.verdict import Verdict
from training.definition import ModelDefinition
from training.results import Answered, BaselineKind, Evaluated, Gated, Registered, RunRequest

MAXIMUM_REASON_CHARACTERS = 500
# A person reads the worst ones; all of them are in the registry's run.
MAXIMUM_SLICES = 20


def subject(definition: ModelDefinition, registered: Registered) -> str:
    """The headline."""
    return f"Promote version {registered.version} of {definition.name}?"


def body(
    definition: ModelDefinition,
    request: RunRequest,
    gated: Gated,
    evaluated: Evaluated | None,
    registered: Registered,
) -> str:
    """The evidence as Markdown: who asks, candidate beside champion, and every verdict."""
    return "\n\n".join(part for part in _parts(definition, request, gated, evaluated, registered) if part)


def unseen(digest: str, shown: str | None) -> str:
    """Why an answer cannot count: the candidate ``digest`` is not the one that was shown. Empty where it is."""
    if shown is None:
        return "which candidate was shown is not on record; clear this task, so that it asks again"
    if shown != digest:
        return (
            f"the answer was to candidate {shown[:12]}, but the run has registered {digest[:12]} meanwhile, which "
            "nobody was shown; start a new run"
        )
    return ""


def answered(digest: str, event: Mapping[str, Any], *, approved: bool) -> Answered:
    """What was said to the candidate ``digest``; Airflow's default after the time is over approves nothing."""
    user = event.get("responded_by_user")
    reason = (event.get("params_input") or {}).get("reason")
    return Answered(
        manifest_digest=digest,
        approved=approved and user is not None,
        by=None if user is None else _person(user),
        reason=_storable(reason if isinstance(reason, str) and user is not None else "")[:MAXIMUM_REASON_CHARACTERS],
    )


def _parts(
    definition: ModelDefinition,
    request: RunRequest,
    gated: Gated,
    evaluated: Evaluated | None,
    registered: Registered,
) -> Iterator[str]:
    yield (
        f"Asked for by **{_cell(request.actor)}** ({_cell(request.reason)}). Trained on events from "
        f"{rfc3339(request.start)} until {rfc3339(request.end)}."
    )
    if request.force:
        yield "**Forced**: an older interval, or an earlier rollback of this version, does not stop it."
    yield f"{_cell(gated.sentence)}"
    if evaluated is not None:
        yield _metrics(evaluated)
        yield _slices(evaluated)
    yield _table(("gate", "says", "value", "limit", "why"), map(_verdict_row, gated.verdicts))
    yield (
        f"Candidate `{registered.manifest_digest}` of `{definition.name}`. Approve promotes it; Reject, or nobody's "
        "answer in time, leaves the champion where it is."
    )


def _metrics(evaluated: Evaluated) -> str:
    """Candidate and champion on the same rows, with the least gain that the resampling vouches for."""
    least = {comparison.metric: comparison.low for comparison in evaluated.comparisons}
    confidence = f" ({evaluated.resampling.confidence:.0%})" if evaluated.resampling else ""
    head = (f"{evaluated.rows:,} holdout rows", "candidate", _baseline(evaluated), "difference", f"gain ≥{confidence}")
    rows = [
        (
            name,
            _number(value),
            _number(evaluated.baseline.metrics.get(name)),
            _difference(value, evaluated.baseline.metrics.get(name)),
            _number(least.get(name)),
        )
        for name, value in evaluated.metrics.items()
    ]
    return _table(head, rows)


def _slices(evaluated: Evaluated) -> str:
    """The slices that the definition names, those in which the candidate gains least first; empty without any."""
    judged = evaluated.slices.judged if evaluated.slices else ()
    compared = sorted(
        ((comparison.gain, found, comparison) for found in judged for comparison in found.comparisons),
        key=lambda each: each[0],
    )
    if not compared:
        return ""
    rows = [
        (
            f"{found.of} = {found.value}",
            f"{found.rows:,}",
            comparison.metric,
            _number(comparison.candidate),
            _number(comparison.baseline),
            f"{gain:+.4g}",
        )
        for gain, found, comparison in compared[:MAXIMUM_SLICES]
    ]
    text = _table(("slice", "rows", "metric", "candidate", _baseline(evaluated), "gain"), rows)
    left = len(compared) - len(rows)
    return text + (f"\n\n{left} more in which it gains no less." if left else "")


def _baseline(evaluated: Evaluated) -> str:
    baseline = evaluated.baseline
    return "trivial baseline" if baseline.kind is BaselineKind.TRIVIAL else f"champion (version {baseline.version})"


def _verdict_row(verdict: Verdict) -> tuple[str, ...]:
    judgement = verdict.judgement.value
    return verdict.gate, judgement, _number(verdict.value), _number(verdict.limit), verdict.sentence


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text of data or people, on one line and without meaning in Markdown or HTML."""
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\|*`[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _difference(value: float, other: float | None) -> str:
    return "" if other is None else f"{value - other:+.4g}"


def _person(user: Mapping[str, Any]) -> str:
    name, identity = str(user.get("name") or "").strip(), str(user.get("id") or "").strip()
    who = name if name == identity or not identity else f"{name} ({identity})" if name else identity
    return _storable(who) or "somebody without a name"


def _storable(text: str) -> str:
    """Without what no database stores, on one line."""
    kept = "".join(letter for letter in text if letter != "\x00" and not "\ud800" <= letter <= "\udfff")
    return " ".join(kept.split())
