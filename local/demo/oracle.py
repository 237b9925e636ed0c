"""The oracle: had every input record exactly one outcome? Told from the topics alone.

It shares no code and no bookkeeping with the daemon. Every input record carries a ``correlation-id`` that the replay
made up and that occurs once; outcomes are counted by that id, and only then is what the daemon says about itself (the
lineage) held against where the record really stands. Documents are read with Python's own ``json``.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.demo.errors import DemoFailed
from local.demo.records import Record

IDENTITY_HEADER = "correlation-id"
DEAD_LETTER_PREFIX = "baton-dead-letter-"


class Inconclusive(DemoFailed):
    """The input is not what was sent, so that nothing can be said about the outcomes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an output record says about itself.

    Attributes:
        claims: topic, partition and offset of the input record that it names.
    """

    record: Record
    identity: str | None
    dead_letter: bool
    version: str
    sequence: int
    claims: tuple[str, int, int]
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """For people."""
        return f"{'dead letter' if self.dead_letter else 'prediction'} {self.record.partition}/{self.record.offset}"


@dataclass(frozen=True)
class Findings:
    """What the oracle saw. The stream is whole when everything below the counts is empty.

    Attributes:
        lost: identities of input records without an outcome.
        duplicated: identities with more than one outcome.
        foreign: outputs that belong to no input record.
        mixed: sentences: an output holds something of another record, or contradicts its lineage.
        disordered: sentences: within a partition outputs overtook each other, or the sequence went back.
    """

    records_in: int
    predictions: int
    dead_letters: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    foreign: tuple[str, ...]
    mixed: tuple[str, ...]
    disordered: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Every input record has exactly one outcome, its own, in order."""
        return not (self.lost or self.duplicated or self.foreign or self.mixed or self.disordered)

    def complaints(self) -> list[str]:
        """One line per kind of fault, with the first three cases."""
        kinds = ("lost", "duplicated", "foreign", "mixed", "disordered")
        found = {kind: getattr(self, kind) for kind in kinds}
        return [f"{kind}: {len(cases)}, such as {'; '.join(cases[:3])}" for kind, cases in found.items() if cases]


def prediction_outcome(record: Record) -> Outcome:
    """Read a record of the predictions topic.

    Raises:
        ValueError: it is no prediction.
    """
    document = json.loads(record.value or b"")
    origin = document["input"]
    return Outcome(
        record=record,
        identity=record.header(IDENTITY_HEADER),
        dead_letter=False,
        version=document["version"],
        sequence=document["sequence"],
        claims=(origin["topic"], origin["partition"], origin["offset"]),
        document=document,
    )


def dead_letter_outcome(record: Record) -> Outcome:
    """Read a record of the dead-letter topic.

    Raises:
        ValueError: it is no dead letter.
    """
    told = {name: record.header(DEAD_LETTER_PREFIX + name) for name in _TOLD}
    missing = sorted(name for name, value in told.items() if value is None)
    if missing:
        raise ValueError(f"dead letter {record.partition}/{record.offset} does not tell its {', '.join(missing)}")
    known = {name: value or "" for name, value in told.items()}
    return Outcome(
        record=record,
        identity=record.header(IDENTITY_HEADER),
        dead_letter=True,
        version=known["version"],
        sequence=int(known["sequence"]),
        claims=(known["topic"], int(known["partition"]), int(known["offset"])),
        document=known,
    )


_TOLD = ("reason", "topic", "partition", "offset", "version", "sequence")


def judge(
    input_topic: str,
    inputs: Sequence[Record],
    outcomes: Sequence[Outcome],
    *,
    sent: int,
    pass_through: Mapping[str, str] | None = None,
) -> Findings:
    """Hold all outputs against all inputs.

    Args:
        outcomes: of both output topics, each topic in order of partition and offset.
        sent: how many input records were acknowledged by the broker.
        pass_through: for each name in a prediction's ``pass_through``, the field of the input record.

    Raises:
        Inconclusive: the input topic holds another number of records than were sent, or an identity twice.
    """
    by_identity = _index(inputs, sent)
    counts = Counter(outcome.identity for outcome in outcomes)
    known = [outcome for outcome in outcomes if outcome.identity in by_identity]
    mixed = [
        f"{outcome.place}: {sentence}"
        for outcome in known
        for sentence in _contradictions(outcome, by_identity[outcome.identity or ""], input_topic, pass_through or {})
    ]
    dead = sum(outcome.dead_letter for outcome in outcomes)
    return Findings(
        records_in=len(inputs),
        predictions=len(outcomes) - dead,
        dead_letters=dead,
        lost=tuple(identity for identity in by_identity if not counts[identity]),
        duplicated=tuple(identity for identity in by_identity if counts[identity] > 1),
        foreign=tuple(o.place for o in outcomes if o.identity not in by_identity),
        mixed=(*mixed, *_two_faced(outcomes)),
        disordered=tuple(_disorder(known, by_identity)),
    )


def _index(inputs: Sequence[Record], sent: int) -> dict[str, Record]:
    if len(inputs) != sent:
        raise Inconclusive(f"{sent} records were sent, but the input topic holds {len(inputs)}")
    by_identity = {record.header(IDENTITY_HEADER) or "": record for record in inputs}
    if "" in by_identity or len(by_identity) != len(inputs):
        raise Inconclusive("an input record has no identity of its own")
    return by_identity


def _contradictions(
    outcome: Outcome, entered: Record, input_topic: str, pass_through: Mapping[str, str]
) -> Iterable[str]:
    told = outcome.record
    if outcome.claims != (input_topic, entered.partition, entered.offset):
        yield f"it names {outcome.claims}, but its record stands at {entered.partition}/{entered.offset}"
    if told.partition != entered.partition:
        yield f"its record came in on partition {entered.partition}"
    if told.key != entered.key:
        yield f"its key is {told.key!r}, the record's is {entered.key!r}"
    if outcome.dead_letter:
        if told.value != entered.value:
            yield "its value is not the record's value"
        if told.headers[: len(entered.headers)] != entered.headers:
            yield "it does not repeat the record's headers"
    else:
        yield from _altered(outcome.document, entered, pass_through)


def _altered(prediction: Mapping[str, Any], entered: Record, pass_through: Mapping[str, str]) -> Iterable[str]:
    try:
        source = json.loads(entered.value or b"")
    except ValueError:
        yield "its record is no JSON, which has no prediction"
        return
    for name, origin in pass_through.items():
        if prediction.get("pass_through", {}).get(name) != source.get(origin):
            yield f"{name} is {prediction.get('pass_through', {}).get(name)!r}, the record's is {source.get(origin)!r}"


def _two_faced(outcomes: Iterable[Outcome]) -> Iterable[str]:
    """A sequence stands for one version, whichever record it scored."""
    versions: dict[int, set[str]] = defaultdict(set)
    for outcome in outcomes:
        versions[outcome.sequence].add(outcome.version)
    return (f"sequence {s} is called version {' and '.join(sorted(v))}" for s, v in versions.items() if len(v) > 1)


def _disorder(known: Iterable[Outcome], by_identity: Mapping[str, Record]) -> Iterable[str]:
    """Outputs of a partition follow its inputs (predictions and dead letters each), and the sequence only grows."""
    last: dict[tuple[bool, int], int] = {}
    reached: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for outcome in known:
        entered = by_identity[outcome.identity or ""]
        line = (outcome.dead_letter, outcome.record.partition)
        if entered.offset < last.get(line, -1):
            yield f"{outcome.place}: input offset {entered.offset} comes after {last[line]}"
        last[line] = max(entered.offset, last.get(line, -1))
        reached[entered.partition].append((entered.offset, outcome.sequence))
    for partition, steps in reached.items():
        highest = 0
        for offset, sequence in sorted(steps):
            if sequence < highest:
                yield f"input {partition}/{offset} was scored by sequence {sequence} after sequence {highest}"
            highest = max(highest, sequence)
