"""Checks a whole stream from its topics alone. Shares no code with the worker: plain JSON, plain comparisons."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec

from tests.support.arena import Arena, Record, read_all

Place = tuple[int, int]  # input partition, input offset


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a stream; all empty where nothing is. Lists hold at most a few examples each.

    Attributes:
        inputs: how many records the input topic holds.
        versions: predictions by version.
    """

    inputs: int
    predictions: int
    dead_letters: int
    versions: Mapping[int, int]
    lost: int
    doubled: int
    invented: int
    disordered: int
    backwards: int
    wrong: Sequence[str]

    @property
    def faultless(self) -> bool:
        """Whether every record has exactly one outcome, in order, and every outcome is right."""
        faults = self.lost + self.doubled + self.invented + self.disordered + self.backwards + len(self.wrong)
        return faults == 0


def examine(arena: Arena, score_of: Callable[[int, int], float]) -> Report:
    """Read the arena's topics and compare.

    Args:
        score_of: the score that a version gives to the record with a number.

    Asserts first that the input topic holds exactly what was produced, and that there was progress: an oracle over
    nothing would be content.
    """
    inputs = read_all(arena.bootstrap, arena.topics.input)
    predictions = read_all(arena.bootstrap, arena.topics.predictions)
    letters = read_all(arena.bootstrap, arena.topics.dead_letters)
    assert len(inputs) == arena.produced > 0, f"{len(inputs)} inputs are in the topic, {arena.produced} were produced"
    assert predictions, "nothing was predicted at all"
    by_place = {(record.partition, record.offset): record for record in inputs}
    outcomes = [(place_of_prediction(record), record) for record in predictions]
    outcomes += [(place_of_letter(record), record) for record in letters]
    counts = Counter(place for place, _ in outcomes)
    return Report(
        inputs=len(inputs),
        predictions=len(predictions),
        dead_letters=len(letters),
        versions=Counter(int(json.loads(record.value or b"")["version"]) for record in predictions),
        lost=len(by_place.keys() - counts.keys()),
        doubled=sum(count - 1 for count in counts.values()),
        invented=len(counts.keys() - by_place.keys()),
        disordered=_disordered(predictions, place_of_prediction) + _disordered(letters, place_of_letter),
        backwards=_backwards(predictions),
        wrong=_wrong(outcomes, by_place, score_of)[:5],
    )


def place_of_prediction(record: Record) -> Place:
    """The input record that a prediction names."""
    found = json.loads(record.value or b"")["input"]
    return found["partition"], found["offset"]


def place_of_letter(record: Record) -> Place:
    """The input record that a dead letter names."""
    headers = dict(record.headers)
    return int(headers["baton-dead-letter-partition"]), int(headers["baton-dead-letter-offset"])


def _disordered(records: Sequence[Record], place_of: Callable[[Record], Place]) -> int:
    """Outcomes that stand behind one of a later input, within one output partition."""
    newest: dict[tuple[int, int], int] = defaultdict(lambda: -1)
    count = 0
    for record in records:
        partition, offset = place_of(record)
        count += offset < newest[record.partition, partition]
        newest[record.partition, partition] = max(newest[record.partition, partition], offset)
    return count


def _backwards(predictions: Sequence[Record]) -> int:
    """Predictions of an older sequence than the input before them on the same partition."""
    scored = sorted(
        (place_of_prediction(record), json.loads(record.value or b"")["sequence"]) for record in predictions
    )
    return sum(
        1
        for ((partition, _), sequence), ((following, _), next_sequence) in pairwise(scored)
        if partition == following and next_sequence < sequence
    )


def _wrong(
    outcomes: Sequence[tuple[Place, Record]], inputs: Mapping[Place, Record], score_of: Callable[[int, int], float]
) -> list[str]:
    """Outcomes that do not belong to the input that they name."""
    wrong: list[str] = []
    for place, record in outcomes:
        origin = inputs.get(place)
        if origin is None:
            continue
        if record.key != origin.key:
            wrong.append(f"{place}: the key is {record.key!r}, the input's is {origin.key!r}")
        elif record.topic.endswith(".predictions"):
            wrong += _wrong_prediction(place, record, origin, score_of)
        elif record.value != origin.value or record.headers[: len(origin.headers)] != origin.headers:
            wrong.append(f"{place}: the dead letter differs from its input")
    return wrong


def _wrong_prediction(place: Place, record: Record, origin: Record, score_of: Callable[[int, int], float]) -> list[str]:
    prediction, request = json.loads(record.value or b""), json.loads(origin.value or b"")
    number, version = int(request["id"].split("-")[1]), int(prediction["version"])
    expected = score_of(version, number)
    wrong = []
    if prediction["score"] != expected or prediction["decision"] != (expected >= version + 0.5):
        wrong.append(f"{place}: version {version} scored {prediction['score']}, {expected} is right")
    if prediction["pass_through"] != {"id": request["id"], "color": request["color"]}:
        wrong.append(f"{place}: pass-through fields are {prediction['pass_through']}")
    if record.headers != [(name, value) for name, value in origin.headers if name == "correlation-id"]:
        wrong.append(f"{place}: correlation headers are {record.headers}")
    return wrong
