"""Records from the input topic by their event time, as the topic stood when the backfill began.

Event times come in any order there, so all of a topic is read, in parts of fixed offsets, once for each version that
scores. A record whose event time cannot be read counts at the timestamp of its Kafka record: it does not vanish.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition

from scoring.backfill.outcomes import OFFSET, Values, known_of
from scoring.backfill.plan import Chunk, Offsets
from scoring.backfill.refusals import BackfillRefused
from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Floats
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema
from scoring.kafka import Options, baton_error, client_options, kafka_errors, require_topics
from scoring.predictions.keys import key_text
from scoring.scorer.decode import Decoded, Failure
from scoring.scorer.scorer import Scorer
from scoring.worker.screening import screened

PART_OFFSETS = 20_000
"""Of a partition: a chunk is in memory as a whole."""
TIMEOUT_S = 30.0
_POLL_S = 0.2
_LATE_S = 0.5
_POLL_RECORDS = 2_000


class Found(msgspec.Struct, frozen=True):
    """The records of a chunk.

    Attributes:
        decoded: those that decode, by their places, and the failures.
        known: key, event time and offset of each.
    """

    decoded: Decoded
    known: dict[str, Values]


class TopicRecords:
    """Reads parts of an input topic.

    Args:
        clock_s: monotonic seconds.
        make_consumer: tests put another in between.

    Raises:
        ConfigurationError: an option of the client is wrong.
    """

    def __init__(
        self,
        options: Options,
        topic: str,
        clock_s: Callable[[], float] = time.monotonic,
        make_consumer: Callable[[dict[str, Any]], Consumer] = Consumer,
    ) -> None:
        self._topic = topic
        self._options = options
        self._clock_s = clock_s
        settings = client_options(
            options,
            group_id="baton-backfill",  # asked for by the client; no group is ever joined
            enable_auto_commit=False,
            auto_offset_reset="error",
            isolation_level="read_committed",
            enable_partition_eof=True,
            fetch_wait_max_ms=50,
        )
        with kafka_errors("opening a reader"):
            self._consumer = make_consumer(settings)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def identity(self) -> str:
        """The topic's id.

        Raises:
            ConfigurationError: it is not there.
            Unavailable: the broker cannot be reached.
        """
        return require_topics(self._options, [self._topic])[self._topic]

    def parts(self) -> Iterator[Offsets]:
        """All that is committed now, in parts that begin at multiples of ``PART_OFFSETS``.

        Raises:
            Unavailable: the broker cannot be reached.
        """
        with kafka_errors(f"reading {self._topic}"):
            described = self._consumer.list_topics(self._topic, TIMEOUT_S).topics[self._topic]
            for partition in sorted(described.partitions):
                place = TopicPartition(self._topic, partition)
                low, high = self._consumer.get_watermark_offsets(place, TIMEOUT_S)
                while low < high:
                    end = min(high, (low // PART_OFFSETS + 1) * PART_OFFSETS)
                    yield Offsets(partition=partition, first=low, end=end)
                    low = end

    def read(self, part: Offsets) -> list[Message]:
        """The records of a part, in their order.

        Raises:
            BackfillRefused: the topic no longer holds all of them.
            Unavailable: the broker does not deliver them in time.
        """
        with kafka_errors(f"reading {self._topic}"):
            place = TopicPartition(self._topic, part.partition, part.first)
            low, _ = self._consumer.get_watermark_offsets(place, TIMEOUT_S)
            if low > part.first:
                raise BackfillRefused(
                    f"topic {self._topic}: partition {part.partition} begins at offset {low} now, and at {part.first} "
                    "when this backfill began: retention took records away; begin another one under a new --name"
                )
            self._consumer.assign([place])
            return list(self._messages(part))

    def _messages(self, part: Offsets) -> Iterator[Message]:
        """Until the part's end: the last offsets may be markers of transactions, which nobody delivers."""
        next_offset, until_s, ended = part.first, self._clock_s() + TIMEOUT_S, False
        while next_offset < part.end and self._clock_s() < until_s:
            for message in self._consumer.consume(min(_POLL_RECORDS, part.end - next_offset), _POLL_S):
                error = message.error()
                if error is None:
                    next_offset, until_s, ended = (message.offset() or 0) + 1, self._clock_s() + TIMEOUT_S, False
                    if next_offset <= part.end:
                        yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the client's public name for it
                    if message.partition() != part.partition or (message.offset() or 0) < part.end:
                        continue  # of another part, or of a broker that has not caught up: records are still to come
                    # The end is told once; before any record it may still be that of the part before.
                    ended, until_s = True, self._clock_s() + (0.0 if next_offset > part.first else _LATE_S)
                elif not error.retriable():
                    raise baton_error(f"reading {self._topic}", error)
        if next_offset < part.end and not ended:
            raise Unavailable(f"Kafka, while reading {self._topic}: no answer within {TIMEOUT_S:.0f} s")


def records_of(chunk: Chunk, scorer: Scorer, messages: Sequence[Message]) -> Found:
    """Those of the records that belong to a chunk, decoded and held against the rules as a worker does."""
    schema = scorer.schema
    decoded = screened(scorer.decode([message.value() for message in messages]), messages, schema)
    moments = np.empty(len(messages))
    moments[decoded.rows] = np.asarray(decoded.columns[schema.event_time], dtype=np.float64)
    event_times = moments.copy()
    reader = _reader(schema.event_time)
    for failure in decoded.failures:
        moment = _event_time_s(reader, messages[failure.index])
        event_times[failure.index] = moment
        moments[failure.index] = _timestamp_s(messages[failure.index]) if np.isnan(moment) else moment
    inside = np.flatnonzero((moments >= epoch_s(chunk.start)) & (moments < epoch_s(chunk.end))).tolist()
    return Found(_only(decoded, inside), _known(decoded, schema, messages, inside, event_times))


def _only(decoded: Decoded, inside: Sequence[int]) -> Decoded:
    """The records at some places, which are counted anew."""
    place_of = {place: number for number, place in enumerate(inside)}
    keep = [row for row, place in enumerate(decoded.rows) if place in place_of]
    failures = [
        Failure(place_of[each.index], each.reason, each.detail, each.field)
        for each in decoded.failures
        if each.index in place_of
    ]
    columns = {name: _taken(column, keep) for name, column in decoded.columns.items()}
    return Decoded(columns, [place_of[decoded.rows[row]] for row in keep], failures)


def _known(
    decoded: Decoded, schema: FeatureSchema, messages: Sequence[Message], inside: Sequence[int], event_times: Floats
) -> dict[str, Values]:
    """The key is the record's own, or of one that does not decode that of its Kafka record."""
    own = dict(zip(decoded.rows, known_of(schema, decoded.columns)["record_key"], strict=True))
    keys = [own[place] if place in own else _key(messages[place]) for place in inside]
    offsets = [messages[place].offset() for place in inside]
    return {"record_key": keys, "event_time": event_times[inside], OFFSET: offsets}


def _key(message: Message) -> str | None:
    key = message.key()
    return None if key is None else key_text(key)


def _reader(event_time: str) -> Callable[[bytes], Any]:
    """Reads the event time alone, of whatever else is wrong with the record."""
    field = ("moment", Annotated[datetime, msgspec.Meta(tz=True)])
    return msgspec.json.Decoder(msgspec.defstruct("Record", [field], rename={"moment": event_time})).decode


def _event_time_s(read: Callable[[bytes], Any], message: Message) -> float:
    """Seconds since 1970; NaN where it cannot be read."""
    try:
        return epoch_s(read(message.value() or b"").moment)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return float("nan")


def _timestamp_s(message: Message) -> float:
    kind, milliseconds = message.timestamp()
    return float("nan") if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000.0


def _taken(column: Column, places: Sequence[int]) -> Column:
    if isinstance(column, np.ndarray):
        return column[np.array(places, dtype=np.intp)]
    return [column[place] for place in places]
