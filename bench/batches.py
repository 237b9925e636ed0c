"""Reads predictions while they come, and keeps what tells about micro-batches: when, by which sequence, up to where.

All predictions of a micro-batch carry one ``scored_at``, taken by the hot thread when it begins to score: the distance
between two of them is the distance between two micro-batches, as the worker itself had it.
"""

import multiprocessing
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from multiprocessing.synchronize import Event
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition

from bench.ground import OTHER_CORE, on_core
from bench.visible import PARTITIONS

LINEAGE = re.compile(rb'"sequence":(\d+).*?"scored_at":"([^"]+)".*?"partition":(\d+),"offset":(\d+)')


class Batch(msgspec.Struct, frozen=True, order=True):
    """One partition's part of a micro-batch.

    Attributes:
        scored_at_s: seconds since 1970, on the worker's clock.
        first, last: input offsets.
    """

    scored_at_s: float
    partition: int
    sequence: int
    first: int
    last: int


class Faults(msgspec.Struct, frozen=True):
    """What must not be in any stream of predictions, counted.

    Attributes:
        backwards: records scored by a sequence after its successor had scored on that partition.
        disordered: records behind one of a later input offset, or twice.
        skipped: input offsets without a prediction between two that have one.
    """

    backwards: int
    disordered: int
    skipped: int


class BatchReader:
    """Reads a topic of predictions in a process of its own, from its beginning."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self._started = context.Event(), context.Event()
        self._found: multiprocessing.Queue[bytes] = context.Queue()
        self._records, self._sequence = context.Value("q", 0), context.Value("q", 0)
        arguments = (bootstrap, topic, self._stop, self._started, self._records, self._sequence, self._found)
        with on_core(OTHER_CORE):
            self._process = context.Process(target=_read, args=arguments, daemon=True)
            self._process.start()
        if not self._started.wait(60):
            raise RuntimeError("the reader of predictions did not start")

    @property
    def records(self) -> int:
        """How many predictions were read."""
        return int(self._records.value)

    @property
    def sequence(self) -> int:
        """The highest sequence that scored."""
        return int(self._sequence.value)

    def finish(self) -> list[Batch]:
        """Everything that was read, in the order of each partition."""
        self._stop.set()
        found = msgspec.msgpack.decode(self._found.get(timeout=60), type=list[Batch])
        self._process.join(10)
        return found


def _read(bootstrap: str, topic: str, stop: Event, started: Event, records: Any, sequence: Any, found: Any) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-batches",
            "log_level": 0,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.min.bytes": 500_000,  # it shares the broker's core: few large answers cost less there
            "fetch.wait.max.ms": 100,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    gathering = Gathering()
    started.set()
    while not stop.is_set():
        for message in consumer.consume(10_000, 0.1):
            value = message.value()
            if message.error() is None and value is not None:
                gathering.add(value)
        records.value, sequence.value = gathering.records, gathering.sequence
    consumer.close()
    found.put(msgspec.msgpack.encode(gathering.batches()))


class Gathering:
    """Puts predictions together to micro-batches."""

    def __init__(self) -> None:
        self.records = self.sequence = 0
        self._open: dict[int, tuple[bytes, int, int, int]] = {}
        self._done: list[Batch] = []

    def add(self, value: bytes) -> None:
        """The next prediction of an output partition."""
        match = LINEAGE.search(value)
        if match is None:
            raise ValueError(f"this is no prediction: {value[:200]!r}")
        sequence, partition, offset = int(match[1]), int(match[3]), int(match[4])
        scored_at, known = match[2], self._open.get(partition)
        self.records += 1
        self.sequence = max(self.sequence, sequence)
        if known is not None and known[0] == scored_at and known[1] == sequence and known[3] + 1 == offset:
            self._open[partition] = (scored_at, sequence, known[2], offset)
            return
        if known is not None:
            self._done.append(_batch(partition, known))
        self._open[partition] = (scored_at, sequence, offset, offset)

    def batches(self) -> list[Batch]:
        """All micro-batches so far; those of a partition in its order."""
        return [*self._done, *(_batch(partition, known) for partition, known in self._open.items())]


def _batch(partition: int, known: tuple[bytes, int, int, int]) -> Batch:
    scored_at, sequence, first, last = known
    return Batch(datetime.fromisoformat(scored_at.decode()).timestamp(), partition, sequence, first, last)


def faults(batches: Iterable[Batch]) -> Faults:
    """What is wrong with a stream, partition by partition."""
    newest: dict[int, Batch] = {}
    backwards = disordered = skipped = 0
    for batch in batches:
        before = newest.get(batch.partition)
        if before is not None:
            size = batch.last - batch.first + 1
            backwards += size * (batch.sequence < before.sequence)
            disordered += size * (batch.first <= before.last)
            skipped += max(0, batch.first - before.last - 1)
        newest[batch.partition] = batch
    return Faults(backwards, disordered, skipped)


def moments(batches: Iterable[Batch]) -> list[float]:
    """When micro-batches began, in order, whichever partitions they are of."""
    return sorted({batch.scored_at_s for batch in batches})


def longest_gap_s(begun: Sequence[float], since_s: float, until_s: float) -> float:
    """The longest time between two micro-batches of which the second began in ``(since_s, until_s]``.

    Raises:
        ValueError: there are none, so that nothing can be said.
    """
    gaps = [late - early for early, late in pairwise(begun) if since_s < late <= until_s]
    if not gaps:
        raise ValueError("there are no two micro-batches in the window")
    return max(gaps)
