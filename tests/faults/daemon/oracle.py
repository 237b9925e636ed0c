"""Judges a whole round from its topics: every input record has exactly one outcome, in order, right to the last bit.

Shares no code with the worker: JSON, comparisons, and the forest's sum in numpy. It asserts first that the input topic
holds what was produced: an oracle over nothing would be content.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
from confluent_kafka import Consumer, TopicPartition

from tests.faults.daemon.field import BAD_EVERY, Field
from tests.faults.daemon.forest import expected, threshold_of
from tests.faults.daemon.reader import Outcome, Reader
from tests.support.arena import PARTITIONS

EXAMPLES = 5


class Input(msgspec.Struct):
    """An input record's fields."""

    id: str
    at: datetime
    x: float
    color: str


class Entered(msgspec.Struct, gc=False):
    """An input record as it stands in the topic."""

    number: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a round; ``wrong`` holds examples."""

    records: int
    predictions: int
    dead_letters: int
    sequences: int
    lost: int
    doubled: int
    invented: int
    disordered: int
    backwards: int
    wrong: Sequence[str]

    @property
    def faultless(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.invented or self.disordered or self.backwards or self.wrong)


def judge(field: Field, reader: Reader) -> Verdict:
    """Compare what the reader found with the input topic."""
    inputs = [_read(field, partition) for partition in range(PARTITIONS)]
    counted = sum(map(len, inputs))
    assert counted == field.produced > 0, f"{counted} inputs are in the topic, {field.produced} were produced"
    assert reader.predictions, "nothing was predicted at all"
    assert reader.letters, "no dead letter was written at all"
    lost = doubled = invented = 0
    for partition, entered in enumerate(inputs):
        seen = np.zeros(len(entered), dtype=np.int64)
        for outcomes in (reader.predictions, reader.letters):
            offsets = np.array([o.offset for o in outcomes if o.partition == partition], dtype=np.int64)
            known = (offsets >= 0) & (offsets < len(entered))
            invented += int((~known).sum())
            np.add.at(seen, offsets[known], 1)
        lost += int((seen == 0).sum())
        doubled += int(np.maximum(seen - 1, 0).sum())
    return Verdict(
        records=counted,
        predictions=len(reader.predictions),
        dead_letters=len(reader.letters),
        sequences=len({outcome.said.sequence for outcome in reader.predictions if outcome.said}),
        lost=lost,
        doubled=doubled,
        invented=invented,
        disordered=_disordered(reader.predictions) + _disordered(reader.letters),
        backwards=_backwards(reader.predictions),
        wrong=[
            *_misplaced(reader),
            *_wrong_letters(inputs, reader.letters),
            *_wrong_predictions(field, inputs, reader.predictions),
        ][:EXAMPLES],
    )


def _read(field: Field, partition: int) -> list[Entered]:
    """A partition of the input topic, whole; its offsets are the places in the list."""
    consumer = Consumer(
        {"bootstrap.servers": field.bootstrap, "group.id": f"in-{uuid4().hex}", "enable.auto.commit": False}
    )
    place = TopicPartition(field.topics.input, partition, 0)
    try:
        _, end = consumer.get_watermark_offsets(place, timeout=10, cached=False)
        consumer.assign([place])
        found: list[Entered] = []
        while len(found) < end:
            for message in consumer.consume(5_000, 5.0):
                assert message.error() is None, message.error()
                assert message.offset() == len(found), "the input topic has a gap"
                headers: Any = message.headers()
                found.append(Entered(int(headers[1][1]), message.key(), message.value(), headers))
        return found
    finally:
        consumer.close()


def _disordered(outcomes: Sequence[Outcome]) -> int:
    """Outcomes behind one of a later input, within an output partition."""
    newest: dict[tuple[int, int], int] = defaultdict(lambda: -1)
    count = 0
    for outcome in outcomes:  # per output partition they were read in order
        where = outcome.into, outcome.partition
        count += outcome.offset < newest[where]
        newest[where] = max(newest[where], outcome.offset)
    return count


def _backwards(predictions: Sequence[Outcome]) -> int:
    """Predictions by an older sequence than an earlier input's of the same partition."""
    highest = [0] * PARTITIONS
    count = 0
    for outcome in sorted(predictions, key=lambda o: (o.partition, o.offset)):
        sequence = outcome.said.sequence if outcome.said else 0
        count += sequence < highest[outcome.partition]
        highest[outcome.partition] = max(highest[outcome.partition], sequence)
    return count


def _misplaced(reader: Reader) -> list[str]:
    return [
        f"the outcome of {outcome.partition}/{outcome.offset} is in partition {outcome.into}"
        for outcome in (*reader.predictions, *reader.letters)
        if outcome.into != outcome.partition
    ]


def _wrong_letters(inputs: Sequence[Sequence[Entered]], letters: Sequence[Outcome]) -> list[str]:
    wrong = []
    for letter in letters:
        origin = _origin(inputs, letter)
        if origin is None:
            continue
        same = (letter.key, letter.value) == (origin.key, origin.value)
        if not same or list(letter.headers[: len(origin.headers)]) != list(origin.headers):
            wrong.append(f"the dead letter of {letter.partition}/{letter.offset} differs from its input")
        if origin.number % BAD_EVERY:
            wrong.append(f"{letter.partition}/{letter.offset} could be scored, but became a dead letter")
    return wrong


def _wrong_predictions(field: Field, inputs: Sequence[Sequence[Entered]], predictions: Sequence[Outcome]) -> list[str]:
    """Scores each prediction again, from the input record that it names and the values that it carries."""
    decode = msgspec.json.Decoder(Input).decode
    wrong: list[str] = []
    rows: dict[int, list[tuple[Outcome, Input]]] = defaultdict(list)
    for outcome in predictions:
        origin, said = _origin(inputs, outcome), outcome.said
        if origin is None or said is None:
            continue
        name = f"{outcome.partition}/{outcome.offset}"
        if origin.number % BAD_EVERY == 0:
            wrong.append(f"{name} cannot be scored, but was predicted")
            continue
        request = decode(origin.value or b"")
        version = int(said.version)
        if field.decided.get(said.sequence) != version or said.sequence in field.refused:
            wrong.append(f"{name}: sequence {said.sequence} is not version {version}")
        if said.manifest_digest != field.digests[version]:
            wrong.append(f"{name}: the digest is not that of version {version}")
        if outcome.key != origin.key or list(outcome.headers) != [origin.headers[0]]:
            wrong.append(f"{name}: key or correlation headers are another record's")
        if said.pass_through != {"id": request.id, "color": request.color}:
            wrong.append(f"{name}: passed-through fields are another record's")
        rows[version].append((outcome, request))
    for version, scored in rows.items():
        wrong += _wrong_scores(version, scored, wind=field.wind)
    return wrong


def _wrong_scores(version: int, scored: Sequence[tuple[Outcome, Input]], *, wind: bool) -> list[str]:
    said = [outcome.said for outcome, _ in scored if outcome.said]
    scores = np.array([s.score for s in said])
    x = np.array([request.x for _, request in scored])
    hour = np.array([request.at.timestamp() % 86_400.0 / 3_600.0 for _, request in scored])
    carried = [s.lookups["weather"]["wind"] if wind else None for s in said]
    winds = np.array([np.nan if value is None else value for value in carried]) if wind else None
    right = expected(version, x, hour, winds)
    decided = np.array([s.decision for s in said]) == (right >= threshold_of(version))
    places = np.flatnonzero((scores.view(np.int64) != right.view(np.int64)) | ~decided)
    return [
        f"{scored[place][0].partition}/{scored[place][0].offset}: version {version} said {scores[place]!r}, "
        f"{right[place]!r} is right"
        for place in places[:EXAMPLES]
    ]


def _origin(inputs: Sequence[Sequence[Entered]], outcome: Outcome) -> Entered | None:
    entered = inputs[outcome.partition]
    return entered[outcome.offset] if 0 <= outcome.offset < len(entered) else None
