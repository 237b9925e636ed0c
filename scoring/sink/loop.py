"""The hot loop of a sink: take, sort, write.

Rows and offsets are written in one transaction. Whatever goes wrong, what was read is thrown away and the tables are
asked where to go on: so a record is in them once, whoever was killed, and nothing is kept while the database is away.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import structlog
from confluent_kafka import Consumer, Message

from scoring.contract.errors import Unavailable
from scoring.predictions.rows import DeadLetterRow, PredictionRow, UnreadableRow
from scoring.predictions.writing import Batch, Move, Overtaken, Refused
from scoring.sink.assignment import Assignment, Store
from scoring.sink.feeds import Feeds
from scoring.sink.intake import Intake, Taken
from scoring.sink.metrics import Metrics
from scoring.sink.partitions import Partition
from scoring.sink.readiness import Report, report
from scoring.sink.sorting import Row, kept_aside, record_of, recorded_at, row_of

# How often markers of transactions behind the last record are stepped over, and the report is made.
IDLE_S = 1.0
REPORT_S = 0.5
log = structlog.get_logger()


class Item(msgspec.Struct, frozen=True, gc=False):
    """One record and its row."""

    partition: Partition
    message: Message
    row: Row


class Loop:
    """Runs in the hot thread.

    Args:
        beat: called each time it comes round.
        now: the time of day, to compare with the timestamps of records.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        assignment: Assignment,
        intake: Intake,
        store: Store,
        feeds: Feeds,
        metrics: Metrics,
        stopping: Callable[[], bool],
        beat: Callable[[], None],
        now: Callable[[], datetime],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._intake = intake
        self._store = store
        self._feeds = feeds
        self._metrics = metrics
        self._stopping = stopping
        self._beat = beat
        self._now = now
        self._clock_s = clock_s
        self._idle_at_s = self._report_at_s = 0.0
        self.report = Report()

    def run(self) -> None:
        """Keep everything that comes, until told to stop."""
        self._assignment.subscribe()
        while not self._stopping():
            self.turn()
        log.info("sink.stopping")
        self._consumer.close()

    def turn(self) -> None:
        """Once round."""
        self._beat()
        self._assignment.look()
        self._assignment.admit()
        taken = self._intake.take()
        if taken.astray:
            self._assignment.go_back("it stands where the topic has nothing", failed=False, places=taken.astray)
        items = self._sorted(taken.messages)
        self._note_ends(taken)
        if items:
            self._keep(items)
        elif self._clock_s() >= self._idle_at_s:
            self._idle_at_s = self._clock_s() + IDLE_S
            self._step_over_markers()
        self._tell()

    def _sorted(self, messages: Sequence[Message]) -> list[Item]:
        """The rows of records that are the next of their partitions; others slipped through before a seek."""
        items, partitions = [], self._assignment.partitions
        for message in messages:
            partition = partitions.get(message.topic() or "", message.partition() or 0)
            if partition is None or partition.next_offset is None or (message.offset() or 0) < partition.next_offset:
                continue
            record = record_of(message, partition.topic_id)
            items.append(Item(partition, message, row_of(record, self._feeds[partition.topic])))
        return items

    def _note_ends(self, taken: Taken) -> None:
        for place, end in taken.ends.items():
            partition = self._assignment.partitions.get(*place)
            if partition is not None and partition.next_offset is not None:
                partition.end = partition.read_end = end

    def _keep(self, items: Sequence[Item]) -> None:
        """Write, or go back to what the tables say."""
        try:
            self._write(items)
        except Overtaken as error:
            self._metrics.batches["overtaken"] += 1
            log.warning("batch.overtaken", error=str(error))
            self._assignment.go_back("another sink writes it", failed=False)
        except Unavailable as error:
            self._metrics.batches["failed"] += 1
            self._assignment.go_back(str(error), failed=True)

    def _write(self, items: Sequence[Item]) -> None:
        """Write these; of several that the database refuses, each half by itself, until the one is found."""
        began_s = self._clock_s()
        try:
            self._store.write(batch_of(items))
        except Refused as error:
            if len(items) == 1:
                self._store.write(batch_of([_aside(items[0], str(error))]))
            else:
                middle = len(items) // 2
                self._write(items[:middle])
                self._write(items[middle:])
                return
        self._written(items, self._clock_s() - began_s)

    def _written(self, items: Sequence[Item], took_s: float) -> None:
        for item in items:
            item.partition.next_offset = (item.message.offset() or 0) + 1
            self._metrics.records[item.partition.topic] += 1
            if isinstance(item.row, UnreadableRow):
                self._metrics.unreadable[item.partition.topic] += 1
        newest = recorded_at(items[-1].message)
        items[-1].partition.newest_at = newest
        if newest is not None:
            self._metrics.delay_seconds.observe(max(0.0, (self._now() - newest).total_seconds()))
        self._metrics.batches["written"] += 1
        self._metrics.batch_records.observe(len(items))
        self._metrics.write_seconds.observe(took_s)
        self._assignment.took()

    def _step_over_markers(self) -> None:
        """The end of a partition may be behind markers of transactions: without them the retention, which removes
        them, would seem to have removed records.
        """
        behind = [
            p
            for p in self._assignment.partitions.all()
            if p.read_end is not None and p.next_offset is not None and p.read_end > p.next_offset
        ]
        if not behind:
            return
        moves = [Move(p.written, p.next_offset or 0, p.read_end or 0) for p in behind]
        try:
            self._store.write(Batch(moves))
        except Overtaken:
            self._assignment.go_back("another sink writes it", failed=False)
        except Unavailable as error:
            self._assignment.go_back(str(error), failed=True)
        else:
            for partition in behind:
                partition.next_offset = partition.read_end
            self._assignment.took()

    def _tell(self) -> None:
        now_s = self._clock_s()
        if now_s >= self._report_at_s:
            self._report_at_s = now_s + REPORT_S
            self.report = report(self._assignment, self._now(), now_s)


def batch_of(items: Sequence[Item]) -> Batch:
    """Rows by table, and how far each partition is with them."""
    predictions, letters, others = list[PredictionRow](), list[DeadLetterRow](), list[UnreadableRow]()
    following: dict[tuple[str, int], Item] = {}
    for item in items:
        following[item.partition.place] = item
        row = item.row
        if isinstance(row, PredictionRow):
            predictions.append(row)
        elif isinstance(row, DeadLetterRow):
            letters.append(row)
        else:
            others.append(row)
    moves = [
        Move(item.partition.written, item.partition.next_offset or 0, (item.message.offset() or 0) + 1)
        for item in following.values()
    ]
    return Batch(moves, predictions, letters, others)


def _aside(item: Item, reason: str) -> Item:
    record = record_of(item.message, item.partition.topic_id)
    return Item(item.partition, item.message, kept_aside(record, f"the database refuses it: {reason}"))
