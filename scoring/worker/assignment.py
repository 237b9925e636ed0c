"""Which partitions this worker reads: subscription, rebalances, and admission of partitions (protocol A.12, B.5, B.6).

Every newly assigned partition starts paused. It is admitted once its committed offset and metadata were read and a
bundle is live here on at least that sequence; admission seeks to the committed offset, so records that slip through
before are dropped without harm.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from scoring.contract.errors import Unavailable
from scoring.contract.progress import Progress
from scoring.service.ending import MustExit
from scoring.worker.models import Active, ModelTable
from scoring.worker.partitions import Partition, Partitions, Pause, Place, pause_for
from scoring.worker.policy import BatchFailed

ADMISSION_TIMEOUT_S = 0.2
# How long an acknowledgement on an idle topic waits for the group's assignment, so that it can name its offsets.
JOIN_PATIENCE_S = 5.0
# How long a new subscription waits for the one before to be taken back.
LEAVING_PATIENCE_S = 5.0
# Committed offsets that cannot be read so often in a row are no longer just somebody's open transaction.
TRIES_BEFORE_WARNING = 40
# How long the next try waits at the most: for all that one question was about, and for one partition by itself.
SOON_S = 0.5
LONGEST_WAIT_S = 5.0
FAILURES_A_PASS = 2
# How often the output topics are looked at again for a partition that they lack.
OUTPUT_WAIT_S = 5.0
# How long the client may keep to itself what the group gave a worker that it had put out and let in again.
STRANGER_PATIENCE_S = 30.0
log = structlog.get_logger()


class Topics(Protocol):
    """What the broker knows of topics; each raises Unavailable where it cannot say now."""

    def topic_id(self, topic: str) -> str:
        """The topic's id."""

    def partitions(self, topic: str) -> int:
        """How many partitions it has."""


class Offsets(Protocol):
    """What the group has committed."""

    def committed(self, places: Sequence[TopicPartition], timeout_s: float) -> list[TopicPartition]:
        """Of these partitions, in their order; -1001 where nothing is. Raises Unavailable."""


class Assignment:
    """What the consumer is subscribed to and assigned; the hot thread calls everything here.

    Args:
        refused: whether a model's sequence, or a later one, was refused here.
    """

    def __init__(
        self,
        consumer: Consumer,
        models: ModelTable,
        topics: Topics,
        offsets: Offsets,
        refused: Callable[[str, int], bool],
    ) -> None:
        self._consumer = consumer
        self._models = models
        self._topics = topics
        self._offsets = offsets
        self._widths: dict[str, int] = {}
        self._topic_ids: dict[str, str | Unavailable] = {}
        self._refused = refused
        self._subscribed: list[str] = []
        self._subscribed_at_s = 0.0
        self._left_at_s = -math.inf
        self._admit_at_s = 0.0
        self._member_at_s = math.inf
        self.partitions = Partitions()

    def subscribe(self) -> None:
        """Read the topics of the models that can be scored here, and no others (protocol A.9)."""
        topics = self._models.topics()
        if topics == self._subscribed or self._is_leaving():
            return
        log.info("topics.subscribed", topics=topics)
        self._subscribed, self._subscribed_at_s = topics, time.monotonic()
        self.partitions.joined = False
        if topics:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
        else:
            self._consumer.unsubscribe()

    @property
    def subscribed(self) -> Sequence[str]:
        """The topics that are read here."""
        return self._subscribed

    def ask_again(self, orphans: Collection[Place]) -> None:
        """Begin a rebalance for partitions that are nobody's: put down what is here, and subscribe anew.

        Subscribing to the same topics again begins none.
        """
        log.error("partitions.orphaned", partitions=sorted(f"{topic}/{number}" for topic, number in orphans))
        self._consumer.unsubscribe()
        self._subscribed, self._left_at_s = [], time.monotonic()

    def _is_leaving(self) -> bool:
        """Whether the client has yet to take the partitions away; where it never says so, that is not waited for."""
        return bool(self.partitions.all()) and time.monotonic() - self._left_at_s < LEAVING_PATIENCE_S

    def complete(self, topic: str) -> bool:
        """Whether offsets can be named for a topic that is idle: those of its partitions are known, or too slow."""
        if time.monotonic() - self._subscribed_at_s > JOIN_PATIENCE_S:
            return True
        return self.partitions.joined and all(
            partition.next_offset is not None for partition in self.partitions.of_topic(topic)
        )

    def admit(self) -> None:
        """Read committed offsets and metadata of waiting partitions; resume those that may be scored (A.12)."""
        now_s = time.monotonic()
        waiting = [partition for partition in self.partitions.waiting() if partition.not_before_s <= now_s]
        if not waiting or now_s < self._admit_at_s or not self._is_member(now_s):
            return
        self._topic_ids.clear()
        unread = [partition for partition in waiting if Pause.UNREAD in partition.pauses]
        # Somebody's open transaction may be in the way of partitions that came: those that stayed are asked for alone.
        found = [
            *self._committed([partition for partition in unread if partition.kept]),
            *self._committed([partition for partition in unread if not partition.kept]),
        ]
        failures = 0
        for partition, committed in [*((p, None) for p in waiting if Pause.UNREAD not in p.pauses), *found]:
            try:
                self._admit(partition, committed)
            except (KafkaException, Unavailable) as error:  # the others do not wait for it
                self._unreadable([partition], str(error), LONGEST_WAIT_S)
                failures += 1
                if failures == FAILURES_A_PASS:  # each may have taken its timeout: records of the others come first
                    break
        if self.partitions.waiting():
            self._admit_at_s = time.monotonic() + ADMISSION_TIMEOUT_S

    def _is_member(self, now_s: float) -> bool:
        """Whether the group still knows this worker as the member that it gave the partitions to; see ``take``."""
        if self.partitions.belong_to(self._consumer.memberid()):
            self._member_at_s = now_s
            return True
        if now_s - self._member_at_s > STRANGER_PATIENCE_S:
            raise MustExit("the group put this worker out and never says what is its own now")
        return False

    def go_back(self, wait_s: float = 0.0) -> None:
        """Discard everything fetched; all partitions wait for admission again, for ``wait_s`` at least.

        Nothing may be in flight: admission reads the committed offsets.
        """
        self.partitions.reset()
        everything = [_place(partition) for partition in self.partitions.all()]
        if everything:
            self._consumer.pause(everything)
        self._admit_at_s = time.monotonic() + wait_s

    def put_back(self, first: Mapping[Place, int], why: Pause, wait_s: float) -> None:
        """Give records that were taken back to the consumer: partitions stand at these offsets again, for later.

        Raises:
            BatchFailed: the consumer cannot seek; everything has to go back.
        """
        for (topic, number), offset in first.items():
            place = TopicPartition(topic, number, offset)
            try:
                self._consumer.pause([place])
                self._consumer.seek(place)
            except KafkaException as error:
                raise BatchFailed(f"{topic}/{number} cannot be put back to {offset}: {error}") from error
            partition = self.partitions.get(topic, number)
            if partition is not None:
                partition.pauses, partition.next_offset = {why}, offset
                partition.not_before_s = time.monotonic() + wait_s

    def hold(self, topic: str, why: Pause, wait_s: float) -> None:
        """A topic's partitions wait for ``wait_s`` before they are admitted again; call it after ``go_back``."""
        for partition in self.partitions.of_topic(topic):
            partition.pauses.add(why)
            partition.not_before_s = time.monotonic() + wait_s

    def _unreadable(self, unread: Sequence[Partition], error: str, longest_s: float) -> None:
        """Most often somebody's open transaction is in the way and ends within its timeout; what lasts is said."""
        now_s = time.monotonic()
        for partition in unread:
            partition.unreadable += 1
            partition.not_before_s = now_s + min(longest_s, ADMISSION_TIMEOUT_S * partition.unreadable)
        tries = max((partition.unreadable for partition in unread), default=1)
        if tries % TRIES_BEFORE_WARNING == 0:
            log.warning("partitions.unreadable", partitions=_names([_place(p) for p in unread]), error=error)

    # The callbacks only note what happened: a call to the broker could block behind an open transaction (A.12).
    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        # Any start would do, for admission seeks; this one does not make the client read the committed offset. It is
        # there whatever retention has removed: from one that is not, the client does not always come back by a seek.
        self.partitions.met_as(consumer.memberid())
        consumer.incremental_assign([TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in assigned])
        consumer.pause(assigned)
        self.partitions.assign(_places(assigned))
        log.info("partitions.assigned", partitions=_names(assigned))

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        member = consumer.memberid()  # the client joins anew only after this call
        consumer.incremental_unassign(revoked)
        self.partitions.revoke(_places(revoked))
        self.partitions.met_as(member)
        log.info("partitions.revoked", partitions=_names(revoked))

    def _committed(self, unread: Sequence[Partition]) -> list[tuple[Partition, TopicPartition]]:
        """What was committed of these partitions; nothing where the broker cannot say now."""
        if not unread:
            return []
        try:
            found = self._offsets.committed([_place(partition) for partition in unread], ADMISSION_TIMEOUT_S)
        except Unavailable as error:
            self._unreadable(unread, str(error), SOON_S)
            return []
        return list(zip(unread, found, strict=True))

    def _admit(self, partition: Partition, committed: TopicPartition | None) -> None:
        """Go to the committed offset where it was not known before, and judge whether the partition may be scored."""
        if committed is not None:
            if committed.error is not None:
                raise KafkaException(committed.error)
            offset = self._resolved(partition, committed.offset)
            partition.topic_id = self._topic_id(partition.topic)
            partition.needs = Progress.decode(committed.metadata)
            self._consumer.seek(TopicPartition(partition.topic, partition.partition, offset))
            partition.next_offset = offset
            partition.unreadable = 0
        self._judge(partition)

    def _topic_id(self, topic: str) -> str:
        """The topic's id, asked for once in a pass, also where it cannot be had."""
        found = self._topic_ids.get(topic)
        if found is None:
            try:
                found = self._topics.topic_id(topic)
            except Unavailable as error:
                found = error
            self._topic_ids[topic] = found
        if isinstance(found, Unavailable):
            raise found
        return found

    def _resolved(self, partition: Partition, committed: int) -> int:
        """Where to go on: at the committed offset, where the topic still has it; never at -1001 (B.5).

        Retention may have removed records that nobody scored, and a topic that was made again starts anew. Neither can
        be undone, so scoring goes on with the oldest record there is; but it is said, in the log and the heartbeat.
        """
        low, high = self._consumer.get_watermark_offsets(_place(partition), ADMISSION_TIMEOUT_S, cached=False)
        partition.end = high
        if committed < 0 or low <= committed <= high:
            return committed if committed >= 0 else low
        partition.gone = max(1, low - committed)
        log.error(
            "records.gone",
            partition=_names([_place(partition)])[0],
            committed=committed,
            oldest=low,
            why="the topic was made again" if committed > high else "they were older than the topic's retention",
        )
        return low

    def _judge(self, partition: Partition) -> None:
        """Admit the partition, or note why it has to wait."""
        active = self._models.of_topic(partition.topic)
        pause = pause_for(partition.needs, None if active is None else active.progress)
        if pause is None and active is not None and not self._has_outputs(active, partition.partition):
            pause = Pause.NO_OUTPUT
            partition.not_before_s = time.monotonic() + OUTPUT_WAIT_S
        partition.pauses = set() if pause is None else {pause}
        if pause is None:
            self._consumer.resume([_place(partition)])
        elif pause is Pause.HELD and active is not None and self._refused(active.model, partition.needs.sequence):
            log.warning("model.given_up", model=active.model, needs=partition.needs.sequence)
            self._models.given_up[active.model] = partition.needs.sequence

    def _has_outputs(self, active: Active, number: int) -> bool:
        """Whether both output topics have this partition; the input may have got partitions that they lack."""
        for topic in (active.topics.predictions, active.topics.dead_letters):
            if self._widths.get(topic, 0) <= number:
                self._widths[topic] = self._topics.partitions(topic)
            if self._widths[topic] <= number:
                log.warning("partition.without_output", partition=f"{active.topics.input}/{number}", lacks=topic)
                return False
        return True


def _place(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


def _places(partitions: Sequence[TopicPartition]) -> list[Place]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: Sequence[TopicPartition]) -> list[str]:
    return [f"{partition.topic}/{partition.partition}" for partition in partitions]
