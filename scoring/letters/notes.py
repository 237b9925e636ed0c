"""Which dead letters were replayed: the keys of ``baton.replays``, read to an end that leaves nothing out."""

import time
from collections.abc import Callable, Iterator

import msgspec
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec

from scoring.contract.acknowledgement import Position
from scoring.contract.errors import Unavailable
from scoring.contract.replay import Note, note_key
from scoring.contract.topics import REPLAYS
from scoring.kafka import PATIENCE_S, TIMEOUT_S, Options, admin_client, kafka_errors
from scoring.reading import Reader

_LOOK_AGAIN_AFTER_S = 0.2


def noted(
    kafka: Options,
    model: str,
    *,
    topic: str = REPLAYS,
    within_s: float = TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> set[bytes]:
    """The keys of the notes (``replay.note_key``) of a model that are committed now.

    Whoever relies on it has fenced the model's other replays before: then no note of the model is under way. But
    another model's replay may have a transaction open in the same topic, and behind its start nobody is shown what is
    committed. So this reads on until it is at the end that there was, counted with what is not committed.

    A key counts whatever its record says, a deletion too: what may have been put back is not put back again.

    Raises:
        Unavailable: the end was not reached in time.
        ConfigurationError: the topic is not there.
    """
    prefix = f"{model}/".encode()
    return {key for key, _ in _all(kafka, topic, within_s, clock) if key.startswith(prefix)}


def note_of(
    kafka: Options,
    model: str,
    letter: Position,
    *,
    topic: str = REPLAYS,
    within_s: float = TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Note | bool:
    """The note of one dead letter; True where there is one that cannot be read, False where there is none.

    Raises:
        Unavailable, ConfigurationError: as ``noted``.
    """
    key = note_key(model, letter)
    found = [value for other, value in _all(kafka, topic, within_s, clock) if other == key]
    if not found:
        return False
    try:
        note = msgspec.json.decode(found[-1] or b"", type=Note)
    except msgspec.MsgspecError:
        return True
    return note if note.key() == key else True


def _all(
    kafka: Options, topic: str, within_s: float, clock: Callable[[], float]
) -> Iterator[tuple[bytes, bytes | None]]:
    """Key and value of every record up to the end that there is now, open transactions included."""
    deadline_s = clock() + within_s
    with Reader(kafka, topic, within_s=within_s) as reader:
        end = _end(kafka, topic)
        start = reader.bounds(0)[0]
        while True:
            visible = min(reader.bounds(0)[1], end)
            for stored in reader.stretch({0: (start, visible)}):
                if stored.key is not None:
                    yield stored.key, stored.value
            if visible >= end:
                return
            if clock() > deadline_s:
                raise Unavailable(f"Kafka, while reading {topic}: a transaction stays open before its end; try again")
            start = max(start, visible)
            time.sleep(_LOOK_AGAIN_AFTER_S)


def _end(kafka: Options, topic: str) -> int:
    """The end of the topic, records of open transactions included."""
    place = TopicPartition(topic, 0)
    admin = admin_client(kafka)
    with kafka_errors(f"asking for the end of {topic}"):
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = admin.list_offsets({place: latest}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return int(asked[place].result(PATIENCE_S).offset)
