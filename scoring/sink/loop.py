"""The hot loop of a sink: take, sort, write.

Rows and offsets are written in one transaction. Whatever goes wrong, what was read is thrown away and the tables are
asked where to go on: so a record is in them once, whoever was killed, and nothing is kept while the database is away.
While a batch is being written the next one is read; it is written only once the one before was.
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
from scoring.sink.writer import Outcome, Writer

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
        self._feeds = feeds
        self._metrics = metrics
        self._stopping = stopping
        self._beat = beat
        self._now = now
        self._clock_s = clock_s
        self._writer = Writer(store.write, now, clock_s)
        self._under_way: Sequence[Item] = ()
        self._idle_at_s = self._report_at_s = 0.0
        self.report = Report()

    def run(self) -> None:
        """Keep everything that comes, until told to stop."""
        self._assignment.subscribe()
        while not self._stopping():
            self.turn()
        log.info("sink.stopping")
        self.settle()
        self._consumer.close()

    def turn(self) -> None:
        """Once round."""
        self._beat()
        if self._assignment.partitions.waiting():
            self.settle()  # the tables would say where that batch began
        self._assignment.look()
        self._assignment.admit()
        taken = self._intake.take()
        if taken.astray:
            self._assignment.go_back("it stands where the topic has nothing", failed=False, places=taken.astray)
        items = self._sorted(taken.messages)
        self._note_ends(taken)
        settled = self.settle()
        if items and settled:
            self._under_way = items
            self._writer.begin(batch_of(items))
        elif settled and self._clock_s() >= self._idle_at_s:
            self._idle_at_s = self._clock_s() + IDLE_S
            self._step_over_markers()
        self._tell()

    def _sorted(self, messages: Sequence[Message]) -> list[Item]:
        """The rows of records that are due; others were read before the client was told anew where to read."""
        items, partitions = [], self._assignment.partitions
        for message in messages:
            partition, offset = partitions.get(message.topic() or "", message.partition() or 0), message.offset() or 0
            if partition is None or partition.next_offset is None or offset < partition.position:
                continue
            partition.position = offset + 1
            record = record_of(message, partition.topic_id)
            items.append(Item(partition, message, row_of(record, self._feeds[partition.topic])))
        return items

    def _note_ends(self, taken: Taken) -> None:
        for place, end in taken.ends.items():
            partition = self._assignment.partitions.get(*place)
            if partition is not None and partition.next_offset is not None:
                partition.end = partition.read_end = end

    def settle(self) -> bool:
        """Wait for the batch under way; where it failed, go back to what the tables say.

        Returns:
            whether what was read since still follows what is in the tables.
        """
        items, self._under_way = self._under_way, ()
        if not items:
            return True
        try:
            try:
                self._written(items, self._writer.end())
            except Refused as error:
                self._write_apart(items, error)
        except Overtaken as error:
            self._metrics.batches["overtaken"] += 1
            log.warning("batch.overtaken", error=str(error))
            self._assignment.go_back("another sink writes it", failed=False)
        except Unavailable as error:
            self._metrics.batches["failed"] += 1
            self._assignment.go_back(str(error), failed=True)
        else:
            return True
        return False

    def _write(self, items: Sequence[Item]) -> None:
        try:
            self._written(items, self._writer.write(batch_of(items)))
        except Refused as error:
            self._write_apart(items, error)

    def _write_apart(self, items: Sequence[Item], error: Refused) -> None:
        """Of several that the database refuses write each half by itself, until the one is found and kept aside."""
        if len(items) == 1:
            aside = [_aside(items[0], str(error))]
            self._written(aside, self._writer.write(batch_of(aside)))
            return
        middle = len(items) // 2
        self._write(items[:middle])
        self._write(items[middle:])

    def _written(self, items: Sequence[Item], outcome: Outcome) -> None:
        for item in items:
            item.partition.next_offset = (item.message.offset() or 0) + 1
            self._metrics.records[item.partition.topic] += 1
            if isinstance(item.row, UnreadableRow):
                self._metrics.unreadable[item.partition.topic] += 1
        newest = recorded_at(items[-1].message)
        items[-1].partition.newest_at = newest
        if newest is not None:
            self._metrics.delay_seconds.observe(max(0.0, (outcome.at - newest).total_seconds()))
        self._metrics.batches["written"] += 1
        self._metrics.batch_records.observe(len(items))
        self._metrics.write_seconds.observe(outcome.took_s)
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
            self._writer.write(Batch(moves))
        except Overtaken:
            self._assignment.go_back("another sink writes it", failed=False)
        except Unavailable as error:
            self._assignment.go_back(str(error), failed=True)
        else:
            for partition in behind:
                partition.next_offset = partition.position = partition.read_end or 0
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
