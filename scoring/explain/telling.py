"""An explanation in lines for people."""

from collections.abc import Iterator

from scoring.contract.clock import length_text, rfc3339
from scoring.contract.golden import Value
from scoring.contract.verdict import Verdict as GateVerdict
from scoring.explain.explanation import (
    Contributions,
    Explanation,
    Input,
    Judged,
    Lag,
    LetterShown,
    Rescored,
    Swap,
    Verdict,
    Why,
)
from scoring.promotion.entry import LedgerEntry

_BAR = 24


def lines(found: Explanation) -> Iterator[str]:
    """The whole explanation, the answer first; a line that begins a part is not indented."""
    yield found.headline
    yield from outcome_lines(found)
    yield from lag_lines(found.lag)
    if found.rescored is not None:
        yield from rescored_lines(found.rescored)
    if found.letter is not None:
        yield from letter_lines(found.letter)
    if found.missing:
        yield "to know:"
    for sentence in found.missing:
        yield f"  {sentence}"
    if found.why is not None:
        yield from why_lines(found.why)
    if found.contributions is not None:
        yield from contribution_lines(found.contributions)
    if found.input is not None:
        yield from input_lines(found.input)
    yield from _table_lines(found)


def lag_lines(lag: Lag | None) -> Iterator[str]:
    """How long it took."""
    if lag is None:
        return
    lengths = (
        (lag.event_to_record_s, "from the event to the input topic"),
        (lag.record_to_outcome_s, "from there to the outcome"),
        (lag.event_to_outcome_s, "in all"),
    )
    told = [f"{length_text(seconds)} {what}" for seconds, what in lengths if seconds is not None]
    if told:
        yield f"  lag: {', '.join(told)}"


def outcome_lines(found: Explanation) -> Iterator[str]:
    """What the prediction says beside the score."""
    prediction = found.prediction
    if prediction is None:
        return
    if prediction.decision is not None:
        yield f"  decision: {shown(prediction.decision)}, the threshold is {shown(found.threshold)}"
    if prediction.label is not None:
        yield f"  label: {prediction.label}"
    for name, probability in (prediction.probabilities or {}).items():
        yield f"  probability of {name}: {probability!r}"
    yield f"  event time {rfc3339(prediction.event_time)}, scored at {rfc3339(prediction.scored_at)}"
    if found.prediction_place is not None:
        place = found.prediction_place
        yield f"  it stands in {place.topic}, partition {place.partition}, offset {place.offset}"


def rescored_lines(again: Rescored) -> Iterator[str]:
    """What came of scoring again."""
    with_what = ", ".join(f"{name} {number}" for name, number in again.installed.items())
    match again.verdict:
        case Verdict.IDENTICAL:
            yield f"scored again now: identical, bit for bit (by {again.kernel}, {with_what})"
        case Verdict.DIFFERENT:
            yield f"scored again now: DIFFERENT (by {again.kernel}, {with_what})"
        case Verdict.IMPOSSIBLE:
            yield "it cannot be scored again:"
    for cause in again.causes:
        yield f"  {cause}"


def letter_lines(letter: LetterShown) -> Iterator[str]:
    """Why the record was not scored, and what would have to change."""
    told = letter.told
    yield f"why it was not scored: {told.reason.value}: {told.detail}"
    if letter.field is not None:
        yield f"  to blame: {letter.field}"
    yield f"  to change: {letter.remedy}"
    yield f"  refused at {rfc3339(told.at)}"
    if letter.place is not None:
        place = letter.place
        yield f"  it stands in {place.topic}, partition {place.partition}, offset {place.offset}"
    for when, judged in (("by the same version now", letter.then), ("by the champion today", letter.today)):
        if judged is not None:
            yield f"  {when}: {judged_text(judged)}"
            yield from (f"    not asked: {sentence}" for sentence in judged.unasked)


def judged_text(judged: Judged) -> str:
    """What one version says of a dead letter's record."""
    who = f"version {judged.version}, sequence {judged.sequence}"
    if judged.scored:
        return f"{who} would score it: {judged.score!r}"
    return f"{who} refuses it: {judged.reason}: {judged.detail}"


def why_lines(why: Why) -> Iterator[str]:
    """Why that version was live."""
    yield "why that version was live:"
    if why.entry is not None:
        yield f"  {entry_text(why.entry)}"
        for verdict in why.entry.evidence:
            yield f"    {gate_text(verdict)}"
    if why.swap is not None:
        yield f"  {swap_text(why.swap)}"
    if why.next_swap is not None:
        yield f"  {swap_text(why.next_swap)}"
    if why.replaced_by is not None:
        yield f"  followed by {entry_text(why.replaced_by)}"
    for problem in why.problems:
        yield f"  DOES NOT FIT: {problem}"


def entry_text(entry: LedgerEntry) -> str:
    """An entry of the ledger in a line."""
    forced = ", forced" if entry.forced else ""
    return (
        f"sequence {entry.sequence}: {entry.kind.value} version {entry.version}{forced}, by {entry.actor} at "
        f"{rfc3339(entry.decided_at)}: {entry.reason}"
    )


def gate_text(verdict: GateVerdict) -> str:
    """A gate's verdict in a line, with its number and limit."""
    number = "" if verdict.value is None else f" ({verdict.value:.6g}"
    limit = "" if verdict.limit is None else f", limit {verdict.limit:.6g}"
    return f"gate {verdict.gate}: {verdict.judgement.value}: {verdict.sentence}{number}{limit if number else ''}" + (
        ")" if number else ""
    )


def swap_text(swap: Swap) -> str:
    """A swap in a line, seen from the record."""
    distance = f"{swap.records} before it" if swap.records >= 0 else f"{-swap.records} behind it"
    return (
        f"{swap.worker} swapped to sequence {swap.sequence} (version {swap.version}) at offset {swap.offset} of "
        f"partition {swap.partition}, {distance}, at {rfc3339(swap.at)}"
    )


def input_lines(found: Input) -> Iterator[str]:
    """The record as text."""
    yield "record:"
    yield f"  key: {shown_text(found.key)}"
    yield f"  value: {shown_text(found.value)}"
    for header in found.headers:
        yield f"  header {header.name}: {shown_text(header.value)}"
    if found.replayed is not None:
        letter = found.replayed.letter
        where = f"{letter.topic} {letter.partition}:{letter.offset}"
        yield f"  it is replay {found.replayed.number} of the dead letter {where}"
    if found.timestamp is not None:
        yield f"  Kafka's timestamp: {rfc3339(found.timestamp)}"


def contribution_lines(found: Contributions) -> Iterator[str]:
    """The features that moved the score most first."""
    of = f" of {found.label}" if found.label is not None else ""
    yield f"contributions to the raw score{of} {found.raw!r} (link {found.link}), from {found.base:.6g} on:"
    parts = sorted(found.parts, key=lambda each: abs(each.value), reverse=True)
    largest = max((abs(part.value) for part in parts), default=0.0) or 1.0
    for part in parts:
        bar = ("+" if part.value > 0 else "-") * round(_BAR * abs(part.value) / largest)
        yield f"  {part.value:+.6f}  {bar:<{_BAR}}  {part.feature}"


def field_lines(found: Explanation) -> Iterator[str]:
    """What was read of the record, where no features tell of it."""
    if not found.features:
        for field in found.fields:
            yield f"{field.name} = {shown(field.value)} ({field.type})"


def _table_lines(found: Explanation) -> Iterator[str]:
    fields = [*field_lines(found)]
    if fields:
        yield "fields as they were read:"
    yield from (f"  {line}" for line in fields)
    if found.enrichment:
        yield "looked up:"
    for each in found.enrichment:
        yield f"  {each.lookup}.{each.field} = {shown(each.value)} ({each.source})"
    if found.features:
        yield "features as the model saw them:"
    for feature in found.features:
        of = ", ".join(f"{name} = {shown(value)}" for name, value in feature.of.items())
        yield f"  {feature.name} = {feature.exact}: {feature.how} ({of})"


def shown(value: Value) -> str:
    """A value for people."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else repr(value)


def shown_text(text: object) -> str:
    """A key, a value or a header for people."""
    return "null" if text is None else str(text)
