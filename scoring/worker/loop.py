"""The hot path. It reads like the picture: consume, decode, enrich, encode, score, emit, commit.

One thread runs everything in this file. Between two micro-batches it takes in bundles that are ready, partitions that
came or went, and what the committer has done; nothing else ever changes what scores.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position, seal_acknowledgement
from scoring.contract.envelope import Keyring
from scoring.contract.errors import Unavailable
from scoring.contract.heartbeat import ModelStatus, State
from scoring.contract.progress import Progress
from scoring.contract.topics import ACKNOWLEDGEMENTS
from scoring.lookups.port import LookupSource
from scoring.worker.committer import Transaction
from scoring.worker.emit import Output
from scoring.worker.fetching import Fetching
from scoring.worker.intake import Batch, take
from scoring.worker.models import ModelTable, Pending
from scoring.worker.partitions import Partition, Partitions, Pause, Place, pause_for
from scoring.worker.pipeline import Pipeline
from scoring.worker.policy import Backoff, BatchFailed
from scoring.worker.scoring_step import outputs_of

IDLE_WAIT_S = 0.05
ADMISSION_TIMEOUT_S = 0.2
STATUS_INTERVAL_S = 0.5
# How long a first acknowledgement waits for the group's assignment, so that it can name its offsets.
JOIN_PATIENCE_S = 5.0
log = structlog.get_logger()

TopicId = Callable[[str], str]


class Loop:
    """The hot thread of a worker.

    Args:
        topic_id: the id of a topic; raises Unavailable where the broker cannot say now.
        stopping: true once the worker was told to stop.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        pipeline: Pipeline,
        fetching: Fetching,
        lookups: LookupSource,
        keyring: Keyring,
        topic_id: TopicId,
        worker: str,
        instance: str,
        maximum_batch_records: int,
        stopping: Callable[[], bool],
    ) -> None:
        self._consumer = consumer
        self._pipeline = pipeline
        self._fetching = fetching
        self._lookups = lookups
        self._keyring = keyring
        self._topic_id = topic_id
        self._worker = worker
        self._instance = instance
        self._maximum_batch_records = maximum_batch_records
        self._stopping = stopping
        self._models = ModelTable()
        self._partitions = Partitions()
        self._subscribed: list[str] = []
        self._subscribed_at = 0.0
        self._sent: dict[str, Pending] = {}
        self._backoff = Backoff(first_s=0.1, longest_s=5.0)
        self._outages = 0
        self._admit_at = 0.0
        self._status_at = 0.0
        self.status: Mapping[str, ModelStatus] = {}

    def run(self) -> None:
        """Score until told to stop, then commit what is in flight.

        Raises:
            MustExit: this process cannot go on.
        """
        while not self._stopping():
            try:
                self._between_batches()
                batch = take(self._consumer, self._partitions, self._maximum_batch_records, IDLE_WAIT_S)
                if self._partitions.rebalanced:
                    self._recover("rebalance")
                elif batch.records or self._due():
                    self._commit(batch, self._score(batch))
            except BatchFailed as error:
                self._recover(str(error))
            except Unavailable as error:
                self._hold_back(error)
        self._finish()

    # --- one micro-batch ------------------------------------------------------------------------------------------

    def _score(self, batch: Batch) -> list[Output]:
        """Decode, enrich, encode, score: one output per record."""
        now = datetime.now(UTC)
        outputs: list[Output] = []
        for topic, messages in batch.by_topic.items():
            active = self._models.of_topic(topic)
            assigned = self._partitions.of_topic(topic)
            if active is None or not assigned:  # admission lets no such record through
                raise BatchFailed(f"records of {topic} were consumed, but no bundle scores them here")
            topic_id = assigned[0].topic_id or ""
            outputs += outputs_of(active, messages, topic_id, self._lookups, now)
        self._outages = 0
        return outputs

    def _commit(self, batch: Batch, outputs: list[Output]) -> None:
        """Emit and commit: outputs, acknowledgements and offsets in one transaction."""
        producer = self._pipeline.begin()
        acknowledgements = [self._acknowledgement(pending, batch) for pending in self._due()]
        self._pipeline.produce(producer, outputs)
        self._pipeline.produce(producer, [self._sealed(one) for one in acknowledgements])
        self._sent.update({pending.model: pending for pending in self._due()})
        offsets = [self._offset(place, offset) for place, offset in batch.following.items()]
        self._pipeline.hand_over(Transaction(producer, offsets, batch.group, tuple(acknowledgements)))
        for (topic, number), offset in batch.following.items():
            partition = self._partitions.get(topic, number)
            if partition is not None:
                partition.next_offset = offset

    def _offset(self, place: Place, offset: int) -> TopicPartition:
        active = self._models.of_topic(place[0])
        progress = active.progress if active is not None else Progress()
        return TopicPartition(*place, offset, metadata=progress.encode())

    # --- acknowledgements (protocol A.10) -------------------------------------------------------------------------

    def _due(self) -> list[Pending]:
        """Acknowledgements for the next transaction: all that are pending, not in flight, and can name offsets."""
        return [
            pending
            for model, pending in self._models.pending.items()
            if self._sent.get(model) is not pending and self._can_name_offsets(pending)
        ]

    def _can_name_offsets(self, pending: Pending) -> bool:
        if pending.outcome is Outcome.REFUSED or pending.retired:
            return True
        if time.monotonic() - self._subscribed_at > JOIN_PATIENCE_S:
            return True
        return self._partitions.joined and all(partition.admitted for partition in self._own(pending.model))

    def _own(self, model: str) -> list[Partition]:
        active = self._models.get(model)
        return [] if active is None else self._partitions.of_topic(active.topics.input)

    def _acknowledgement(self, pending: Pending, batch: Batch) -> Acknowledgement:
        """The first offset that this sequence scores: in this batch, or else the next one of each partition."""
        positions = [
            Position(
                topic=partition.topic,
                topic_id=partition.topic_id or "",
                partition=partition.partition,
                offset=batch.first.get((partition.topic, partition.partition), partition.next_offset or 0),
            )
            for partition in self._own(pending.model)
            if partition.admitted and pending.outcome is Outcome.LIVE
        ]
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
            positions=tuple(positions),
            reason=pending.reason,
        )

    def _sealed(self, acknowledgement: Acknowledgement) -> Output:
        sealed = seal_acknowledgement(acknowledgement, event_id=str(uuid4()), keyring=self._keyring)
        return Output(ACKNOWLEDGEMENTS, 0, sealed.key, sealed.value, [*sealed.headers])

    # --- between two micro-batches --------------------------------------------------------------------------------

    def _between_batches(self) -> None:
        self._pipeline.collect()
        self._settle()
        while not self._fetching.arrivals.empty():
            self._models.apply(self._fetching.arrivals.get())
        self._subscribe()
        if self._partitions.waiting() and time.monotonic() >= self._admit_at:
            self._admit()
        self._publish_status()

    def _settle(self) -> None:
        """What was acknowledged in committed transactions is live from now on, and remembered."""
        for transaction in self._pipeline.committed:
            for acknowledgement in transaction.acknowledgements:
                pending = self._sent.pop(acknowledgement.model, None)
                if pending is None:
                    continue
                self._fetching.settled(pending)
                if self._models.pending.get(pending.model) is pending:
                    del self._models.pending[pending.model]
                if pending.outcome is Outcome.LIVE and not pending.retired:
                    self._models.live[pending.model] = pending.sequence
                log.info("model.acknowledged", model=pending.model, version=pending.version,
                         sequence=pending.sequence, outcome=pending.outcome.value)  # fmt: skip
        self._pipeline.committed.clear()

    def _subscribe(self) -> None:
        """Read the topics of the models that can be scored here, and no others (protocol A.9)."""
        topics = self._models.topics()
        if topics == self._subscribed:
            return
        log.info("topics.subscribed", topics=topics)
        self._subscribed, self._subscribed_at = topics, time.monotonic()
        self._partitions.joined = False
        if topics:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        else:
            self._consumer.unsubscribe()

    # The callbacks only note what happened: a call to the broker could block behind an open transaction (A.12).
    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        consumer.incremental_assign(assigned)
        consumer.pause(assigned)
        self._partitions.assign(_places(assigned))
        log.info("partitions.assigned", partitions=_names(assigned))

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        consumer.incremental_unassign(revoked)
        self._partitions.revoke(_places(revoked))
        log.info("partitions.revoked", partitions=_names(revoked))

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._on_revoke(consumer, lost)

    def _admit(self) -> None:
        """Read committed offsets and metadata of waiting partitions; resume those that may be scored (A.12)."""
        waiting = self._partitions.waiting()
        unread = [partition for partition in waiting if Pause.UNREAD in partition.pauses]
        try:
            self._read_committed(unread)
        except (KafkaException, Unavailable) as error:
            # Most often somebody's open transaction is in the way; it ends within its timeout.
            log.debug("partitions.unreadable", error=str(error))
            self._admit_at = time.monotonic() + ADMISSION_TIMEOUT_S
            return
        for partition in waiting:
            self._judge(partition)
        if self._partitions.waiting():
            self._admit_at = time.monotonic() + ADMISSION_TIMEOUT_S

    def _read_committed(self, unread: list[Partition]) -> None:
        if not unread:
            return
        places = [TopicPartition(partition.topic, partition.partition) for partition in unread]
        for partition, found in zip(unread, self._consumer.committed(places, ADMISSION_TIMEOUT_S), strict=True):
            if found.error is not None:
                raise KafkaException(found.error)
            offset = found.offset
            if offset < 0:  # nothing was committed: start at the beginning, never at -1001 (B.5)
                place = TopicPartition(partition.topic, partition.partition)
                offset, _ = self._consumer.get_watermark_offsets(place, ADMISSION_TIMEOUT_S, cached=False)
            partition.topic_id = self._topic_id(partition.topic)
            partition.needs = Progress.decode(found.metadata)
            partition.next_offset = offset
            partition.pauses.discard(Pause.UNREAD)
            self._consumer.seek(TopicPartition(partition.topic, partition.partition, offset))

    def _judge(self, partition: Partition) -> None:
        active = self._models.of_topic(partition.topic)
        pause = pause_for(partition.needs, None if active is None else active.progress)
        partition.pauses = set() if pause is None else {pause}
        if pause is None:
            self._consumer.resume([TopicPartition(partition.topic, partition.partition)])
        elif pause is Pause.HELD and active is not None and self._refused_at_least(active.model, partition):
            log.warning("model.given_up", model=active.model, needs=partition.needs.sequence)
            self._models.given_up.add(active.model)

    def _refused_at_least(self, model: str, partition: Partition) -> bool:
        phase = self._fetching.phases[model]
        return phase.state is State.REFUSED and (phase.pending or 0) >= partition.needs.sequence

    # --- when something fails -------------------------------------------------------------------------------------

    def _recover(self, why: str) -> None:
        """Abort what is in flight, discard what was fetched, go back to the committed offsets (B.5, B.6)."""
        log.warning("batch.recovering", why=why)
        self._pipeline.abort()
        self._settle()
        self._sent.clear()
        self._go_back()

    def _go_back(self) -> None:
        self._partitions.reset()
        everything = [TopicPartition(partition.topic, partition.partition) for partition in self._partitions.all()]
        if everything:
            self._consumer.pause(everything)

    def _hold_back(self, error: Unavailable) -> None:
        """A lookup cannot be answered: commit what is done, wait, and take the records again."""
        self._outages += 1
        wait_s = self._backoff.wait_s(self._outages)
        log.warning("batch.held_back", wait_s=wait_s, error=str(error))
        self._pipeline.drain()
        self._settle()
        self._go_back()
        self._admit_at = time.monotonic() + wait_s

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
        now = time.monotonic()
        if now < self._status_at:
            return
        self._status_at = now + STATUS_INTERVAL_S
        models = self._models.live.keys() | self._models.retired.keys()
        self.status = {model: self._status_of(model) for model in sorted(models)}

    def _status_of(self, model: str) -> ModelStatus:
        if model in self._models.retired:
            return ModelStatus(state=State.RETIRED, pending=self._models.retired[model])
        own = self._own(model)
        held = [partition for partition in own if partition.pauses & {Pause.HELD, Pause.OTHER_LEDGER}]
        active = self._models.get(model)
        sequence = self._models.live[model]
        same = active is not None and active.sequence == sequence
        read = [partition for partition in own if partition.next_offset is not None]
        return ModelStatus(
            state=State.HELD if held else State.LIVE,
            sequence=sequence,
            version=active.version if active is not None and same else None,
            pending=max(partition.needs.sequence for partition in held) if held else None,
            reason=next(iter(held[0].pauses)).value if held else None,
            positions=tuple(
                Position(topic=p.topic, topic_id=p.topic_id or "", partition=p.partition, offset=p.next_offset or 0)
                for p in read
            ),
            lag=tuple(self._lag(partition) for partition in read),
        )

    def _lag(self, partition: Partition) -> int | None:
        place = TopicPartition(partition.topic, partition.partition)
        try:
            _, high = self._consumer.get_watermark_offsets(place, cached=True)
        except KafkaException:
            return None
        return max(0, high - (partition.next_offset or 0)) if high >= 0 else None


def _places(partitions: list[TopicPartition]) -> list[Place]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{partition.topic}/{partition.partition}" for partition in partitions]
