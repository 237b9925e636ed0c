"""Judges a poison campaign from its topics alone: it shares no code with the worker."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from tests.faults.poison.records import PARTITIONS, Sent
from tests.support.arena import Record
from tests.support.bundles import score_of

Place = tuple[int, int]  # input partition, input offset
PREFIX = "baton-dead-letter-"
TOLD = 8
# What is hostile about these is not their value.
AROUND_THE_VALUE = {
    "null_value",
    "null_value_and_null_key",
    "white_space",
    "a_long_key",
    "many_headers",
    "large_headers",
    "a_clock_ahead",
    "a_clock_behind",
}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records.

    Attributes:
        kinds: by kind of hostile records, how many there were and how many distinct ones.
        faults: what is wrong; empty where nothing is, a few examples otherwise.
    """

    records: int
    hostile: int
    kinds: Mapping[str, tuple[int, int]]
    reasons: Mapping[str, int]
    faults: Sequence[str]


def judge(
    sent: Sequence[Sent], inputs: Sequence[Record], predictions: Sequence[Record], letters: Sequence[Record]
) -> Judged:
    """Hold every outcome against the record that was sent.

    Args:
        sent: in the order in which they were produced.
        inputs: what the input topic holds, partition by partition in order.

    Asserts first that all of it was fed, and that something was scored and something refused where there was such.
    """
    expected = _places(sent)
    _assert_progress(expected, inputs, predictions, letters)
    faults = [
        *_counted(expected, predictions, letters),
        *_in_order(predictions, _predicted),
        *_in_order(letters, _refused),
        *(fault for record in letters for fault in _letter_faults(record, expected)),
        *(fault for record in predictions for fault in _prediction_faults(record, expected)),
    ]
    hostile = [record for record in sent if record.reason is not None]
    return Judged(
        records=len(sent),
        hostile=len(hostile),
        kinds=_kinds(hostile),
        reasons=Counter(str(record.reason) for record in hostile),
        faults=faults[:TOLD],
    )


def _places(sent: Sequence[Sent]) -> dict[Place, Sent]:
    offsets = [0] * PARTITIONS
    places: dict[Place, Sent] = {}
    for record in sent:
        places[record.partition, offsets[record.partition]] = record
        offsets[record.partition] += 1
    return places


def _assert_progress(
    expected: Mapping[Place, Sent], inputs: Sequence[Record], predictions: Sequence[Record], letters: Sequence[Record]
) -> None:
    assert len(inputs) == len(expected) > 0, f"{len(inputs)} inputs are in the topic, {len(expected)} were sent"
    for record in inputs:
        sent = expected[record.partition, record.offset]
        fed = (record.value, record.key, tuple(record.headers), record.timestamp_ms)
        made = (sent.value, sent.key, sent.headers, sent.timestamp_ms)
        assert fed == made, f"{sent.kind} was not fed as it was made: {fed} {made}"[:2_000]
    good = sum(record.reason is None for record in expected.values())
    assert bool(predictions) == bool(good), "nothing was scored at all"
    assert bool(letters) == (good < len(expected)), "nothing was refused at all"


def _kinds(hostile: Sequence[Sent]) -> dict[str, tuple[int, int]]:
    distinct: dict[str, set[int]] = defaultdict(set)
    add_distinct(distinct, hostile)
    counts = Counter(record.kind for record in hostile)
    return {name: (counts[name], len(distinct[name])) for name in sorted(counts)}


def add_distinct(distinct: dict[str, set[int]], hostile: Iterable[Sent]) -> None:
    """Add the hashes of what is hostile about these records to the sets of their kinds."""
    for record in hostile:
        around = (record.key, record.headers, record.timestamp_ms) if record.kind in AROUND_THE_VALUE else ()
        distinct[record.kind].add(hash((record.value, *around)))


def _counted(expected: Mapping[Place, Sent], predictions: Sequence[Record], letters: Sequence[Record]) -> list[str]:
    """Each record has one outcome, and it is of the right sort."""
    scored, refused = Counter(map(_predicted, predictions)), Counter(map(_refused, letters))
    faults = []
    for place, record in expected.items():
        found, wanted = (scored[place], refused[place]), (0, 1) if record.reason else (1, 0)
        if found != wanted:
            faults.append(f"{record.kind} at {place}: scored {found[0]} times, refused {found[1]} times")
    invented = (scored.keys() | refused.keys()) - expected.keys()
    return [*faults, *(f"an outcome of {place}, where nothing was sent" for place in sorted(invented))]


def _in_order(records: Sequence[Record], place_of: Callable[[Record], Place]) -> list[str]:
    newest: dict[int, int] = {}
    faults = []
    for record in records:
        partition, offset = place_of(record)
        if partition != record.partition or offset <= newest.get(partition, -1):
            faults.append(f"{record.topic}: {partition}/{offset} stands behind {newest.get(partition)}")
        newest[partition] = offset
    return faults


def _predicted(record: Record) -> Place:
    found = json.loads(record.value or b"")["input"]
    return found["partition"], found["offset"]


def _refused(record: Record) -> Place:
    headers = dict(record.headers)
    return int(headers[f"{PREFIX}partition"]), int(headers[f"{PREFIX}offset"])


def _letter_faults(letter: Record, expected: Mapping[Place, Sent]) -> list[str]:
    sent = expected.get(_refused(letter))
    if sent is None or sent.reason is None:
        return []  # told by the count
    faults = []
    reason = dict(letter.headers)[f"{PREFIX}reason"].decode()
    if reason != sent.reason.value:
        detail = dict(letter.headers)[f"{PREFIX}detail"].decode()
        value = (sent.value or b"")[:200]
        faults.append(f"{sent.kind}: refused as {reason} ({detail}), it is {sent.reason.value}: {value!r}")
    if (letter.key, letter.value) != (sent.key, sent.value):
        faults.append(f"{sent.kind}: key or value of the dead letter is not the record's")
    own = letter.headers[: len(sent.headers)]
    if tuple(own) != sent.headers:
        faults.append(f"{sent.kind}: the headers of the dead letter do not begin with the record's")
    return faults


def _prediction_faults(prediction: Record, expected: Mapping[Place, Sent]) -> list[str]:
    sent = expected.get(_predicted(prediction))
    if sent is None or sent.reason is not None:
        return []  # told by the count
    found, number = json.loads(prediction.value or b""), sent.number
    version = int(found["version"])
    faults = []
    if found["score"] != score_of(version, number):
        faults.append(f"{sent.kind} {number}: scored {found['score']}, {score_of(version, number)} is right")
    if found["pass_through"]["id"] != f"r-{number:08d}":
        faults.append(f"{sent.kind} {number}: it is called {found['pass_through']['id']}")
    correlation = [(name, value) for name, value in sent.headers if name == "correlation-id"]
    if prediction.key != sent.key or prediction.headers != correlation:
        faults.append(f"{sent.kind} {number}: key or correlation headers are not the record's")
    return faults
