"""Waiting until the workers have what was decided: follows heartbeats and acknowledgements for an ``Observer``."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Self

from confluent_kafka import Message

from scoring.contract.acknowledgement import unseal_acknowledgement
from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected, Unavailable
from scoring.contract.heartbeat import unseal_heartbeat
from scoring.contract.manifest import Topics
from scoring.contract.topics import ACKNOWLEDGEMENTS, WORKERS
from scoring.kafka import Options, Tail, headers_of, partitions_of
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.observer import LIMIT_S, Answer, Observer, Standing

__all__ = ["LIMIT_S", "Answer", "Follower", "Observer", "Standing", "wait_until_converged"]

# No acknowledgement of an entry is older than the entry by more than clocks may differ.
_CLOCK_MARGIN = timedelta(days=1)
_POLL_S = 0.5
_LEDGER_EVERY_S = 5.0

Progress = Callable[[Answer], None]


def ignore(_: Answer) -> None:
    """Progress that nobody watches."""


def wait_until_converged(
    entry: LedgerEntry,
    *,
    ledger: Ledger,
    kafka: Options,
    keyring: Keyring,
    input_topic: str | None = None,
    limit_s: float = LIMIT_S,
    progress: Progress = ignore,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Wait until every live worker has ``entry``, or it is clear that this will not come (protocol A.11).

    Args:
        input_topic: the model's input topic; None is the one by the standard name.
        limit_s: after this the answer is ``timed-out``, or ``unserved`` where no worker was ever seen.
        progress: called with each answer whose sentence is new.

    Returns:
        the settled answer; ``answer.green`` says whether the pipeline may go on.

    Raises:
        Unavailable: Kafka cannot be reached.
        ConfigurationError: a topic is missing, or access is refused.
    """
    with Follower(
        entry, ledger=ledger, kafka=kafka, keyring=keyring, input_topic=input_topic, limit_s=limit_s, clock=clock
    ) as follower:
        said = ""
        while True:
            answer = follower.step(_POLL_S)
            if answer.sentence != said:
                said = answer.sentence
                progress(answer)
            if answer.settled:
                return answer


class Follower:
    """Feeds an observer from Kafka and the ledger, step by step.

    Args:
        waited_s: how much of ``limit_s`` an earlier follower of the same wait used up.

    Attributes:
        rejected: how many messages must not be believed (unsigned, forged, malformed).
    """

    def __init__(
        self,
        entry: LedgerEntry,
        *,
        ledger: Ledger,
        kafka: Options,
        keyring: Keyring,
        input_topic: str | None = None,
        limit_s: float = LIMIT_S,
        waited_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entry = entry
        self._ledger = ledger
        self._keyring = keyring
        self._clock = clock
        self.rejected = 0
        topic = input_topic or Topics.of(entry.model).input
        self._observer = Observer(
            ledger=ledger.identity(),
            model=entry.model,
            sequence=entry.sequence,
            kind=entry.kind,
            input_topic=topic,
            partitions=partitions_of(kafka, topic),
            now_s=clock(),
            limit_s=limit_s,
            waited_s=waited_s,
        )
        self._asked_at_s = float("-inf")
        self._tail = Tail(kafka, {WORKERS: None, ACKNOWLEDGEMENTS: entry.decided_at - _CLOCK_MARGIN})

    def step(self, timeout_s: float) -> Answer:
        """Take what has come, waiting at most ``timeout_s`` for the first record, and answer."""
        self._ask_ledger()
        message = self._tail.poll(timeout_s)
        while message is not None:
            self._take(message)
            message = self._tail.poll(0)
        # What happened before is read completely before anything is concluded from what is missing.
        while not self._tail.at_end:
            for message in self._tail.to_end(clock=self._clock):
                self._take(message)
        return self._observer.answer(self._clock())

    def close(self) -> None:
        """Stop following."""
        self._tail.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, message: Message) -> None:
        try:
            if message.topic() == WORKERS:
                self._take_heartbeat(message)
            else:
                key, value = message.key(), message.value()
                self._observer.acknowledge(unseal_acknowledgement(key, value, headers_of(message), self._keyring))
        except EnvelopeRejected:
            self.rejected += 1

    def _take_heartbeat(self, message: Message) -> None:
        beat = unseal_heartbeat(message.key(), message.value(), headers_of(message), self._keyring)
        if (message.offset() or 0) < self._tail.ends[WORKERS]:
            self._observer.remember(beat)
        else:
            self._observer.hear(beat, self._clock())

    def _ask_ledger(self) -> None:
        if self._clock() - self._asked_at_s < _LEDGER_EVERY_S:
            return
        self._asked_at_s = self._clock()
        try:
            head = self._ledger.head(self._entry.model)
        except Unavailable:
            return  # heartbeats and acknowledgements tell of newer sequences as well
        if head is not None:
            self._observer.decided(head.sequence)
