"""Replay: dead letters are put back into their input topic, each at most once, whatever is killed or run twice."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum
from itertools import islice

import msgspec

from scoring.contract.dead_letter import record_size_bytes
from scoring.contract.replay import REPLAY_PREFIX, Note, Replayed, note_key
from scoring.letters.letter import Letter
from scoring.letters.originals import Gone, Original
from scoring.letters.transactions import Prepared, Replayer

# A record that was put back so often and failed again is not put back without being asked for by name.
MAXIMUM_REPLAYS = 3
BATCH_LETTERS = 500
BATCH_BYTES = 32 * 2**20


class Fate(StrEnum):
    """What becomes of a dead letter. Only ``replay`` puts its record back."""

    REPLAY = "replay"
    ALREADY = "already-replayed"
    TOO_OFTEN = "too-often"
    GONE = "gone"
    TOO_LARGE = "too-large"
    NO_PARTITION = "no-partition"
    FORGED = "forged"
    NOTHING_THERE = "nothing-there"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked for.

    Attributes:
        input_topic_id: as the topic is now.
        ends: of its partitions, by their numbers.
        maximum_bytes: of a record there.
        again: also records that were replayed ``MAXIMUM_REPLAYS`` times and failed again.
        actor, why: who replays, and for what reason; on record in the notes.
    """

    model: str
    input_topic: str
    input_topic_id: str
    ends: tuple[int, ...]
    maximum_bytes: int
    actor: str
    why: str
    again: bool = False

    @property
    def partitions(self) -> int:
        """Of the input topic."""
        return len(self.ends)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter and what becomes of it; ``original`` is there where it is replayed."""

    letter: Letter
    fate: Fate
    sentence: str
    original: Original | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters had which fate, and which of them were not replayed, a few of each kind.

    Attributes:
        fates: by fate, by the reason of the dead letter; a place at which there is none has no reason: ``-``.
        examples: sentences on letters that are not replayed.
    """

    fates: Mapping[str, Mapping[str, int]]
    examples: tuple[str, ...]

    @property
    def replayed(self) -> int:
        """How many are put back."""
        return sum(self.fates.get(Fate.REPLAY.value, {}).values())

    @property
    def left(self) -> int:
        """How many stay dead letters although they were asked for, and were not put back before."""
        done = {Fate.REPLAY.value, Fate.ALREADY.value}
        return sum(sum(counts.values()) for fate, counts in self.fates.items() if fate not in done)


class Tally:
    """Counts fates."""

    def __init__(self) -> None:
        self._fates: dict[str, Counter[str]] = {}
        self._examples: dict[Fate, list[str]] = {}

    def add(self, judged: Judged) -> None:
        """Count one."""
        place = judged.letter.place
        self._add(judged.fate, judged.letter.told.reason.value, f"{place.partition}:{place.offset}: {judged.sentence}")

    def add_nothing(self, places: Mapping[tuple[int, int], str]) -> None:
        """Count places that were asked for and at which there is no dead letter of the model."""
        for (partition, offset), why in places.items():
            self._add(Fate.NOTHING_THERE, "-", f"{partition}:{offset}: {why}")

    def _add(self, fate: Fate, reason: str, sentence: str) -> None:
        self._fates.setdefault(fate.value, Counter())[reason] += 1
        examples = self._examples.setdefault(fate, [])
        if fate not in {Fate.REPLAY, Fate.ALREADY} and len(examples) < 3:
            examples.append(sentence)

    def summary(self) -> Summary:
        """What was counted."""
        return Summary(fates=self._fates, examples=tuple(line for lines in self._examples.values() for line in lines))


def judge(
    letter: Letter, order: Order, notes: AbstractSet[bytes], original_of: Callable[[Letter], Original | Gone]
) -> Judged:
    """What becomes of a letter.

    Args:
        notes: the keys of the dead letters that were replayed before.
    """
    if note_key(order.model, letter.place) in notes:
        return Judged(letter=letter, fate=Fate.ALREADY, sentence="it was replayed before")
    claim = impossible_claim(letter, order)
    if claim is not None:
        return Judged(letter=letter, fate=Fate.FORGED, sentence=claim)
    original = original_of(letter)
    if isinstance(original, Gone):
        return Judged(letter=letter, fate=Fate.GONE, sentence=original.sentence)
    if letter.told.origin.partition >= order.partitions:
        sentence = f"it came from partition {letter.told.origin.partition}, {order.input_topic} has {order.partitions}"
        return Judged(letter=letter, fate=Fate.NO_PARTITION, sentence=sentence)
    if original.replays >= MAXIMUM_REPLAYS and not order.again:
        sentence = f"its record was replayed {original.replays} times and failed each time; ask for it with --again"
        return Judged(letter=letter, fate=Fate.TOO_OFTEN, sentence=sentence)
    size_bytes = record_size_bytes(original.key, original.value, headers_for(letter, original))
    if size_bytes > order.maximum_bytes:
        sentence = f"with what says that it is a replay it may take {size_bytes} bytes, {order.input_topic} takes "
        return Judged(letter=letter, fate=Fate.TOO_LARGE, sentence=f"{sentence}{order.maximum_bytes}")
    return Judged(letter=letter, fate=Fate.REPLAY, sentence="it is put back", original=original)


def impossible_claim(letter: Letter, order: Order) -> str | None:
    """What a letter says of its origin that is true of no worker's letter: somebody else wrote it, for a replay."""
    origin = letter.told.origin
    if origin.partition != letter.place.partition:
        return (
            f"it names partition {origin.partition} as its origin and stands in partition {letter.place.partition}: "
            "a worker's dead letters stand in the partition of their records"
        )
    here = origin.topic_id == order.input_topic_id and origin.partition < order.partitions
    if here and origin.offset >= order.ends[origin.partition]:
        return f"it names offset {origin.offset} as its origin, and partition {origin.partition} has not come so far"
    return None


def headers_for(letter: Letter, original: Original) -> list[tuple[str, bytes | None]]:
    """The record's own headers, and those that say which dead letter it was; of an earlier replay nothing is left."""
    own = [(name, value) for name, value in original.headers if not name.startswith(REPLAY_PREFIX)]
    return [*own, *Replayed(letter=letter.place, number=original.replays + 1).headers()]


def prepare(judged: Judged, order: Order, at: datetime) -> Prepared:
    """The record to put back, and its note. It goes to the partition that it came from."""
    letter, original = judged.letter, judged.original
    if original is None:
        raise ValueError(f"{judged.fate.value}: nothing to put back")
    note = Note(
        model=order.model,
        letter=letter.place,
        origin=letter.told.origin,
        reason=letter.told.reason,
        number=original.replays + 1,
        actor=order.actor,
        why=order.why,
        at=at,
    )
    headers = headers_for(letter, original)
    return Prepared(order.input_topic, letter.told.origin.partition, original.key, original.value, headers, note)


def replay(
    judged: Iterator[Judged],
    order: Order,
    replayer: Replayer,
    clock: Callable[[], datetime],
    progress: Callable[[Summary], None],
    nothing_at: Mapping[tuple[int, int], str] | None = None,
) -> Summary:
    """Put back what is to be put back, batch by batch.

    Args:
        judged: by the notes that were read after ``replayer`` was entered, never before.
        progress: told after each batch.
        nothing_at: places at which there was none, and why; looked at when all are judged.

    Raises:
        BatonError: as ``Replayer.put_back``; batches before it are committed.
    """
    tally = Tally()
    for batch in _batches(judged):
        prepared = [prepare(each, order, clock()) for each in batch if each.fate is Fate.REPLAY]
        if prepared:
            replayer.put_back(prepared)
        for each in batch:
            tally.add(each)
        progress(tally.summary())
    tally.add_nothing(nothing_at or {})
    return tally.summary()


def _batches(judged: Iterator[Judged]) -> Iterator[list[Judged]]:
    """Some letters at a time, and not too many bytes of them."""
    while batch := list(islice(judged, 1)):
        size_bytes = batch[0].letter.size_bytes
        while len(batch) < BATCH_LETTERS and size_bytes < BATCH_BYTES and (more := next(judged, None)) is not None:
            batch.append(more)
            size_bytes += more.letter.size_bytes
        yield batch
