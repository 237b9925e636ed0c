"""The hot path. It reads like the picture: consume, decode, enrich, encode, score, emit, commit.

One thread runs everything in this file. Between two micro-batches it takes in bundles that are ready, partitions that
came or went, and what the committer has done; nothing else ever changes what scores.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from scoring.contract.acknowledgement import Acknowledgement, Outcome, seal_acknowledgement
from scoring.contract.envelope import Keyring
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.heartbeat import ModelStatus
from scoring.contract.progress import Progress
from scoring.contract.topics import ACKNOWLEDGEMENTS
from scoring.lookups.port import LookupSource
from scoring.service.backoff import Backoff
from scoring.service.ending import MustExit
from scoring.worker.assignment import Assignment, Offsets, Topics
from scoring.worker.breaker import Breaker, Limits
from scoring.worker.committer import Transaction
from scoring.worker.emit import Output
from scoring.worker.ends import Ends
from scoring.worker.fetching import Fetching
from scoring.worker.garbage import Garbage
from scoring.worker.intake import Batch, take, take_more
from scoring.worker.lag import Lags
from scoring.worker.metrics import CONSUME, PRODUCE, Metrics, Tally, merged, tally
from scoring.worker.models import Active, ModelTable, Pending
from scoring.worker.orphans import Group, Orphans
from scoring.worker.partitions import Partition, Pause, Place
from scoring.worker.pipeline import Pipeline
from scoring.worker.policy import BatchFailed, because
from scoring.worker.readiness import Report
from scoring.worker.scoring_step import outputs_of
from scoring.worker.status import position, report_of, statuses
from scoring.worker.suspects import FAILURES, Suspects

IDLE_WAIT_S = 0.05
# A micro-batch that waits for the commit before it takes in what came within such a time, at a go; longer ones where
# that commit hangs.
GATHER_WAIT_S = 0.001
GATHER_PATIENCE_S = 1.0
STATUS_INTERVAL_S = 0.5
# How long an open breaker waits for its next probe.
_PROBES = Backoff(first_s=5.0, longest_s=60.0)
log = structlog.get_logger()


class Loop:
    """The hot thread of a worker.

    Args:
        topics: what the broker knows of topics.
        offsets: what the group has committed.
        stopping: true once the worker was told to stop.
        breaker: when a topic's records are no longer taken, for too many become dead letters.
        beat: called at each turn.
        metrics: where everything is counted and timed.
        ends: how far partitions reach that wait here.
        orphans: partitions that the group has left to nobody.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        pipeline: Pipeline,
        fetching: Fetching,
        lookups: LookupSource,
        keyring: Keyring,
        topics: Topics,
        offsets: Offsets,
        worker: str,
        instance: str,
        maximum_batch_records: int,
        stopping: Callable[[], bool],
        breaker: Limits | None = None,
        beat: Callable[[], None] = lambda: None,
        metrics: Metrics | None = None,
        ends: Ends | None = None,
        orphans: Orphans | None = None,
    ) -> None:
        self._consumer = consumer
        self._pipeline = pipeline
        self._fetching = fetching
        self._lookups = lookups
        self._keyring = keyring
        self._worker = worker
        self._instance = instance
        self._maximum_batch_records = maximum_batch_records
        self._stopping = stopping
        self._beat = beat
        self._metrics = metrics or Metrics()
        self._ends = ends or Ends(lambda _: {})
        self._orphans = orphans or Orphans(lambda _: Group(stable=True, members={}, partitions={}), worker)
        self._garbage = Garbage()
        self._lags = Lags()
        self._models = ModelTable()
        self._assignment = Assignment(consumer, self._models, topics, offsets, fetching.refused)
        self._partitions = self._assignment.partitions
        self._sent: set[Pending] = set()
        self._backoff = Backoff(first_s=0.1, longest_s=5.0)
        self._failures = 0
        self._suspects = Suspects()
        self._trying: str | None = None
        self._outages: Counter[str] = Counter()
        self._breakers: defaultdict[str, Breaker] = defaultdict(lambda: Breaker(breaker or Limits()))
        self._status_at_s = 0.0
        self.status: Mapping[str, ModelStatus] = {}
        self.report = Report()

    def run(self) -> None:
        """Score until told to stop, then commit what is in flight.

        Raises:
            MustExit: this process cannot go on.
        """
        self._garbage.begin()
        try:
            while not self._stopping():
                try:
                    self._turn()
                except BatchFailed as error:
                    self._failed(str(error))
            self._finish()
        except KafkaException as error:
            raise MustExit(f"the consumer cannot go on: {because(error)}") from error
        finally:
            self._garbage.end()

    def _turn(self) -> None:
        self._beat()
        self._between_batches()
        self._metrics.begin()
        batch = take(self._consumer, self._partitions, self._maximum_batch_records, IDLE_WAIT_S)
        self._metrics.lap(CONSUME)
        if self._partitions.outlived:
            raise MustExit(
                "the group put this worker out and let it in again; only a fresh process knows what is its own"
            )
        if self._partitions.rebalanced:
            self._recover("rebalance")
            return
        topic = self._suspects.choose(batch.by_topic) if self._suspects else None
        if topic is None:
            self._score_and_commit(batch)
        else:
            self._try_apart(batch, topic)

    def _score_and_commit(self, batch: Batch) -> None:
        outputs, tallies = self._score(batch)
        if not outputs and not self._due(batch):
            self._garbage.look(idle=True)
            return
        producer = self._pipeline.begin()
        self._produce(producer, batch, outputs)
        if not self._gather(producer, batch, tallies):
            self._recover("rebalance")
            return
        self._commit(producer, batch, self._due(batch), tallies)
        self._metrics.lap(PRODUCE)
        if records := sum(tally.records for tally in tallies):
            self._metrics.end(records)
            self._lags.scored(batch.by_topic, batch.following)
        self._garbage.look(idle=not records)

    def _gather(self, producer: Producer, batch: Batch, tallies: list[Tally]) -> bool:
        """Let records that come while the micro-batch before is being committed join this one; false at a rebalance.

        They would have to wait for that commit in the next one too, and for this one's besides.
        """
        began_s = time.monotonic()
        while self._may_gather(batch):
            self._beat()
            self._publish_status()
            wait_s = GATHER_WAIT_S if time.monotonic() - began_s < GATHER_PATIENCE_S else IDLE_WAIT_S
            room = self._maximum_batch_records - batch.records
            more = take_more(self._consumer, self._partitions, batch.group, room, wait_s)
            self._metrics.lap(CONSUME)
            if self._partitions.rebalanced:
                return False
            outputs, found = self._score(more)
            self._produce(producer, more, outputs)
            batch.add(more)
            tallies += found
        return True

    def _may_gather(self, batch: Batch) -> bool:
        """Whether there is something to wait for, room, and nothing that must not wait."""
        self._pipeline.collect()
        return (
            self._pipeline.committing
            and batch.records < self._maximum_batch_records
            and self._fetching.arrivals.empty()
            and not self._models.asks_databases  # an open transaction must not wait for one: it keeps readers waiting
            and not self._suspects
            and not self._stopping()
        )

    def _try_apart(self, batch: Batch, topic: str) -> None:
        """Commit one topic's records with nothing else in flight; what was taken of the others is read again."""
        self._drain()
        for other in [*batch.by_topic]:
            if other != topic:
                batch.take_out(other)
        self._trying = topic
        self._score_and_commit(batch)
        self._drain()
        self._trying = None
        self._suspects.passed(topic)
        self._go_back()

    # --- one micro-batch ------------------------------------------------------------------------------------------

    def _score(self, batch: Batch) -> tuple[list[Output], list[Tally]]:
        """Decode, enrich, encode, score: one output per record that stays in the batch, and what is to be counted."""
        now = datetime.now(UTC)
        outputs: list[Output] = []
        tallies: list[Tally] = []
        for topic, messages in list(batch.by_topic.items()):
            active = self._models.of_topic(topic)
            topic_id = next((p.topic_id for p in self._partitions.of_topic(topic) if p.topic_id), None)
            if active is None or topic_id is None:  # admission lets no such record through
                raise BatchFailed(f"records of {topic} were consumed, but no bundle scores them here")
            try:
                found = outputs_of(active, messages, topic_id, self._lookups, now)
                del self._outages[topic]
            except (Unavailable, ConfigurationError) as error:
                self._outages[topic] += 1
                self._put_back(batch, topic, Pause.LOOKUP, self._backoff.wait_s(self._outages[topic]), str(error))
                continue
            letters = [output.topic for output in found].count(active.topics.dead_letters)
            breaker = self._breakers[topic]
            if breaker.admits(len(found), letters):
                outputs += found
                tallies.append(tally(active.model, messages, found, letters))
            else:
                wait_s = _PROBES.wait_s(breaker.probes)
                self._put_back(batch, topic, Pause.BREAKER, wait_s, f"{letters} dead letters in {len(found)} records")
        return outputs, tallies

    def _put_back(self, batch: Batch, topic: str, why: Pause, wait_s: float, error: str) -> None:
        """One model's records wait, those of the others do not (promise 9)."""
        log.warning("batch.put_back", topic=topic, why=why.value, wait_s=wait_s, error=error)
        self._metrics.put_back[topic, why.code] += 1
        self._assignment.put_back(batch.take_out(topic), why, wait_s)

    def _produce(self, producer: Producer, batch: Batch, outputs: list[Output]) -> None:
        self._pipeline.produce(producer, outputs)
        for (topic, number), offset in batch.following.items():
            partition = self._partitions.get(topic, number)
            if partition is not None:
                partition.next_offset = offset
        self._metrics.lap(PRODUCE)

    def _commit(self, producer: Producer, batch: Batch, due: list[Pending], tallies: list[Tally]) -> None:
        """Commit what was produced: outputs, acknowledgements and offsets in one transaction."""
        said = [self._sealed(self._acknowledgement(pending, batch)) for pending in due]
        self._sent.update(due)
        offsets = [self._offset(place, offset) for place, offset in batch.following.items()]
        self._pipeline.hand_over(Transaction(producer, offsets, batch.group, tuple(due), said, merged(tallies)))

    def _offset(self, place: Place, offset: int) -> TopicPartition:
        active = self._models.of_topic(place[0])
        progress = active.progress if active is not None else Progress()
        return TopicPartition(*place, offset, metadata=progress.encode())

    # --- acknowledgements (protocol A.10) -------------------------------------------------------------------------

    def _due(self, batch: Batch) -> list[Pending]:
        """Acknowledgements for the next transaction: those that are not in flight and can name their offsets."""
        return [
            pending for pending in self._models.pending if pending not in self._sent and self._ready(pending, batch)
        ]

    def _ready(self, pending: Pending, batch: Batch) -> bool:
        """With the first records that the sequence scores at the latest; on an idle topic once offsets are known."""
        active = self._models.get(pending.model)
        if pending.outcome is Outcome.REFUSED or active is None:
            return True
        return active.topics.input in batch.by_topic or self._assignment.complete(active.topics.input)

    def _acknowledgement(self, pending: Pending, batch: Batch) -> Acknowledgement:
        """The first offset that this sequence scores: in this batch, or else the next one of each partition."""
        live = pending.outcome is Outcome.LIVE
        first = {(p.topic, p.partition): p.next_offset or 0 for p in self._own(pending.model)} | batch.first
        return Acknowledgement(
            ledger=pending.ledger,
            model=pending.model,
            sequence=pending.sequence,
            version=pending.version,
            worker=self._worker,
            instance=self._instance,
            outcome=pending.outcome,
            noticed_at=pending.noticed_at,
            at=datetime.now(UTC),
            positions=tuple(
                position(p, first[p.topic, p.partition]) for p in self._own(pending.model) if live and p.placed
            ),
            reason=pending.reason,
        )

    def _own(self, model: str) -> list[Partition]:
        active = self._models.get(model)
        return [] if active is None else self._partitions.of_topic(active.topics.input)

    def _sealed(self, acknowledgement: Acknowledgement) -> Output:
        sealed = seal_acknowledgement(acknowledgement, event_id=str(uuid4()), keyring=self._keyring)
        return Output(ACKNOWLEDGEMENTS, 0, sealed.key, sealed.value, [*sealed.headers])

    # --- between two micro-batches --------------------------------------------------------------------------------

    def _between_batches(self) -> None:
        self._pipeline.collect()
        self._settle()
        self._take_in()
        self._assignment.subscribe()
        if orphans := self._orphans.take():
            self._assignment.ask_again(orphans)
        self._assignment.admit()
        self._publish_status()

    def _take_in(self) -> None:
        """Swap to the bundles that are ready; commit the records of a model that was retired, and take no more."""
        while not self._fetching.arrivals.empty():
            began_s = time.perf_counter()
            arrival = self._fetching.arrivals.get()
            if isinstance(arrival, Active):
                arrival.scorer.lap = self._metrics.lap
            self._models.apply(arrival)
            for partition in self._own(arrival.model):  # what the one before could not score this one may
                if Pause.BREAKER in partition.pauses:
                    partition.not_before_s = 0.0
            self._metrics.swapped(arrival.model, time.perf_counter() - began_s)
        if any(p.admitted and self._models.of_topic(p.topic) is None for p in self._partitions.all()):
            self._drain()
            self._go_back()

    def _drain(self) -> None:
        """Wait until everything in flight is committed; records that come meanwhile may be dropped: go back then."""
        self._pipeline.drain()
        self._settle()

    def _settle(self) -> None:
        """What was acknowledged in committed transactions is live from now on, and remembered."""
        for event in self._pipeline.committed:
            self._failures = 0
            self._metrics.committed(event.transaction.tallies, event.at_s)
            for pending in event.transaction.settles:
                self._sent.discard(pending)
                self._fetching.settled(pending)
                self._models.settle(pending)
                log.info("model.acknowledged", model=pending.model, version=pending.version,
                         sequence=pending.sequence, outcome=pending.outcome.value)  # fmt: skip
        self._pipeline.committed.clear()

    # --- when something fails -------------------------------------------------------------------------------------

    def _failed(self, why: str) -> None:
        """A micro-batch failed: all go back; one topic waits where it alone was in the transaction (``suspects``)."""
        topic, self._trying = self._trying, None
        if topic is not None:
            wait_s = self._suspects.failed(topic)
            log.error("topic.apart", topic=topic, why=why, wait_s=wait_s)
            self._recover(why)
            return
        self._failures += 1
        topics = {partition.topic for partition in self._partitions.all()}
        if self._failures >= FAILURES and len(topics) > 1:
            self._suspects.add(topics)
        # The first time at once; what fails again and again would else fill the log and the output topics.
        self._recover(why, self._backoff.wait_s(self._failures - 1) if self._failures > 1 else 0.0)

    def _recover(self, why: str, wait_s: float = 0.0) -> None:
        """Abort what is in flight, discard what was fetched, go back to the committed offsets (B.5, B.6)."""
        log.warning("batch.recovering", why=why, wait_s=wait_s)
        self._pipeline.abort()
        self._metrics.recoveries["rebalance" if why == "rebalance" else "failure"] += 1
        self._metrics.transactions["aborted"] = self._pipeline.aborted
        self._settle()
        self._sent.clear()
        self._go_back(wait_s)

    def _go_back(self, wait_s: float = 0.0) -> None:
        self._assignment.go_back(wait_s)
        for topic, left_s in self._suspects.waiting().items():
            self._assignment.hold(topic, Pause.APART, left_s)

    def close(self) -> None:
        """Leave the group's protocol in order; a static member's partitions stay its own for the session timeout."""
        self._consumer.close()

    def _finish(self) -> None:
        """Commit what is in flight (protocol B.7)."""
        try:
            self._pipeline.drain()
        except BatchFailed as error:
            log.warning("batch.abandoned", why=str(error))
            self._pipeline.abort()
        self._settle()

    # --- what the heartbeat says ----------------------------------------------------------------------------------

    def _publish_status(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._status_at_s:
            self._status_at_s = now_s + STATUS_INTERVAL_S
            self._orphans.topics = self._assignment.subscribed
            self._ends.waiting = [(p.topic, p.partition) for p in self._partitions.waiting()]
            lags = self._lags.measure(self._partitions.all(), self._end)
            self.status = statuses(self._models, self._partitions, lags)
            self.report = report_of(self._models, self._partitions, lags)

    def _end(self, partition: Partition) -> int | None:
        """The offset behind a partition's last record, as far as this worker was told; None before it was."""
        place = TopicPartition(partition.topic, partition.partition)
        try:
            _, high = self._consumer.get_watermark_offsets(place, cached=True)
            (passed,) = self._consumer.position([place])
        except KafkaException:
            return partition.end
        told = (high, partition.end, self._ends.known.get((partition.topic, partition.partition)))
        end = max((offset for offset in told if offset is not None and offset >= 0), default=None)
        if end is not None and partition.admitted and end <= passed.offset:
            return partition.next_offset  # behind it there are only markers of transactions
        return end
