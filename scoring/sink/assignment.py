"""Which partitions this sink reads, and from where: subscription, rebalances, and admission of partitions.

A partition that the group gives to this sink is read only once the tables said which offset of it comes next. The
client is told to read from there anew each time: it does not always come back by a seek from where there is nothing.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from scoring.contract.errors import BatonError, Unavailable
from scoring.predictions.writing import Batch, Gap, Overtaken
from scoring.predictions.writing import Partition as Written
from scoring.service.backoff import Backoff
from scoring.sink.metrics import Metrics
from scoring.sink.partitions import Partition, Partitions, Place

BROKER_TIMEOUT_S = 0.5
# How often the topics' ids are asked for: a topic that was deleted and made again begins anew.
LOOK_EVERY_S = 5.0
SOON_S = 0.2
# How long the next try for one partition waits at the most, and how long tries may keep the records of others waiting.
LONGEST_WAIT_S = 5.0
PASS_S = 1.0
_WAITS = Backoff(first_s=SOON_S, longest_s=10.0)
log = structlog.get_logger()


class NotYet(BatonError):
    """A partition cannot be read yet; the message says what is in the way."""


class Store(Protocol):
    """Where rows and offsets are written; see ``predictions.writing.Tables``."""

    def begin(self, partition: Written, first_offset: int) -> int:
        """The next offset of a partition; where it has none yet, it begins at ``first_offset``."""

    def write(self, batch: Batch) -> None:
        """Write rows and offsets, all or nothing."""

    def note_gap(self, gap: Gap) -> None:
        """Put a gap on record and step over it."""


class Assignment:
    """What the consumer is subscribed to and assigned; the hot thread calls everything here.

    Args:
        topic_ids: the id of each of some topics, None where one is not there; raises Unavailable.
        now: the time of day, for what is put on record.
    """

    def __init__(
        self,
        consumer: Consumer,
        store: Store,
        topics: Sequence[str],
        topic_ids: Callable[[Iterable[str]], Mapping[str, str | None]],
        metrics: Metrics,
        now: Callable[[], datetime],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._store = store
        self._topics = list(topics)
        self._ask_ids = topic_ids
        self._ids: Mapping[str, str | None] = {}
        self._look_at_s = 0.0
        self._metrics = metrics
        self._now = now
        self._clock_s = clock_s
        self._failures = 0
        self.partitions = Partitions()
        self.problem: str | None = None

    def subscribe(self) -> None:
        """Read the topics, together with the other sinks of these tables."""
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        log.info("topics.subscribed", topics=self._topics)

    def missing(self) -> list[str]:
        """Topics that are not there, as far as that is known."""
        return sorted(topic for topic, found in self._ids.items() if found is None)

    def look(self) -> None:
        """Ask for the topics' ids once in a while; partitions of a topic that has another one now begin anew."""
        if self._clock_s() >= self._look_at_s:
            self._look_at_s = self._clock_s() + LOOK_EVERY_S
            self._see(self._topic_ids())

    def admit(self) -> None:
        """Ask the tables where waiting partitions go on, and go there."""
        now_s = self._clock_s()
        waiting = [partition for partition in self.partitions.waiting() if partition.not_before_s <= now_s]
        if not waiting:
            return
        self._see(self._topic_ids())
        admitted = False
        for partition in waiting:
            try:
                self._admit(partition)
                admitted = True
            except (KafkaException, NotYet, Overtaken) as error:  # the others do not wait for it
                self._wait(partition, str(error))
                if self._clock_s() - now_s > PASS_S:  # each may have taken its timeout: records come first
                    break
            except Unavailable as error:
                self.go_back(str(error), failed=True)
                return
        if admitted:
            self._read_admitted()

    def go_back(self, problem: str | None, *, failed: bool, places: Iterable[Place] | None = None) -> None:
        """Discard what was fetched; partitions (by default all) wait for the tables to say where they go on.

        Args:
            failed: the database is away; the next try waits longer each time.
        """
        self._failures += failed
        if failed and self.problem is None:
            log.warning("database.away", error=problem)
        self.problem = problem if failed else self.problem
        chosen = [p.place for p in self.partitions.all()] if places is None else list(places)
        self.partitions.reset(chosen, self._clock_s() + (_WAITS.wait_s(self._failures) if failed else SOON_S), problem)
        self._read_admitted()

    def answered(self) -> None:
        """The database is there again."""
        if self.problem is not None:
            log.info("database.back")
        self.problem = None

    def took(self) -> None:
        """The database has taken rows."""
        self.answered()
        self._failures = 0

    def _read_admitted(self) -> None:
        """Have the client read what is admitted, from where the tables are, and nothing else."""
        admitted = [p for p in self.partitions.all() if p.next_offset is not None]
        try:
            self._consumer.assign([TopicPartition(*p.place, p.position) for p in admitted])
        except KafkaException as error:  # what it says next tells why
            log.warning("partitions.unassigned", error=str(error))
            self.partitions.reset([p.place for p in admitted], self._clock_s() + SOON_S, str(error))

    def _wait(self, partition: Partition, problem: str) -> None:
        partition.problem = problem
        partition.tries += 1
        partition.not_before_s = self._clock_s() + min(LONGEST_WAIT_S, SOON_S * partition.tries)

    def _topic_ids(self) -> Mapping[str, str | None]:
        try:
            return self._ask_ids(self._topics)
        except Unavailable as error:  # what was known is as good as anything
            log.debug("topics.unknown", error=str(error))
            return self._ids

    def _see(self, ids: Mapping[str, str | None]) -> None:
        for topic in sorted(topic for topic, found in ids.items() if found is None and topic not in self.missing()):
            log.warning("topic.missing", topic=topic)
        self._ids = ids
        again = [p for p in self.partitions.all() if p.topic_id and ids.get(p.topic) not in {None, p.topic_id}]
        for topic in sorted({partition.topic for partition in again}):
            log.warning("topic.made_again", topic=topic, topic_id=ids[topic])
        if again:
            self.go_back("its topic was made again", failed=False, places=[p.place for p in again])

    # The callbacks only note what happened: they are called while the group waits for an answer.
    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        consumer.assign([])
        self.partitions.assign((p.topic, p.partition) for p in assigned)
        log.info("partitions.assigned", partitions=[f"{p.topic}/{p.partition}" for p in assigned])

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        consumer.unassign()
        self.partitions.revoke()
        log.info("partitions.revoked", partitions=[f"{p.topic}/{p.partition}" for p in revoked])

    def _admit(self, partition: Partition) -> None:
        topic_id = self._ids.get(partition.topic)
        if topic_id is None:
            raise NotYet(f"Kafka does not say which topic {partition.topic} is")
        place = TopicPartition(*partition.place)
        low, high = self._consumer.get_watermark_offsets(place, BROKER_TIMEOUT_S, cached=False)
        written = Written(topic_id, partition.number, partition.topic)
        following = self._store.begin(written, low)
        self.answered()
        if following > high:
            raise NotYet(f"the tables have it up to {following}, the topic only up to {high}: it lost its end")
        if following < low:
            following = self._step_over(Gap(written, following, low, self._now()))
        partition.topic_id, partition.end, partition.problem = topic_id, high, None
        partition.next_offset = partition.position = following
        log.info("partition.admitted", partition=f"{partition.topic}/{partition.number}", offset=following)

    def _step_over(self, gap: Gap) -> int:
        """Retention has removed what no sink had read. That cannot be undone, so it is said and put on record."""
        self._store.note_gap(gap)
        place = f"{gap.partition.topic}/{gap.partition.number}"
        self._metrics.gone[gap.partition.topic, str(gap.partition.number)] += gap.next_offset - gap.first_offset
        log.error("records.gone", partition=place, first=gap.first_offset, oldest=gap.next_offset)
        return gap.next_offset
