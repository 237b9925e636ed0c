"""The worker with one sentence of the protocol left out: each must be caught by a test."""

import os
from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer

from scoring.contract.progress import Progress
from scoring.contract.topics import ACKNOWLEDGEMENTS
from scoring.worker import assignment
from scoring.worker.assignment import Assignment
from scoring.worker.partitions import Pause
from scoring.worker.pipeline import Pipeline

Plant = Callable[[Any], None]


def _produce_before_the_flush(_: Any) -> None:
    """B.4: batch k+1 is produced although k's records are still in the client's queue."""
    begin = Pipeline.begin

    def begins(self: Pipeline) -> Producer:
        self._unflushed = None
        return begin(self)

    Pipeline.begin = begins  # type: ignore[method-assign]


def _stay_after_an_abort(_: Any) -> None:
    """B.5: after an abort the consumer goes on where it is."""

    def stays(self: Assignment, wait_s: float = 0.0) -> None:
        self.partitions.rebalanced = False
        self._admit_at_s = wait_s

    Assignment.go_back = stays  # type: ignore[method-assign]


def _ignore_the_metadata(_: Any) -> None:
    """A.12: a partition is scored whatever sequence its committed offset names."""

    def never(_needs: Progress, live: Progress | None) -> Pause | None:
        return Pause.NO_MODEL if live is None else None

    vars(assignment)["pause_for"] = never


def _outside(leave_out: Callable[[str], bool]) -> Plant:
    """Records of these topics are produced by a producer of their own, without transactions."""

    def plant(producer_class: Any) -> None:
        send = producer_class.send
        aside = Producer({"bootstrap.servers": os.environ["BATON_KAFKA_BOOTSTRAP"]})

        def sends(self: Any, topic: str, *arguments: Any, **named: Any) -> None:
            if not leave_out(topic):
                send(self, topic, *arguments, **named)
                return
            aside.produce(topic, *arguments, **named)
            aside.flush(10)

        producer_class.send = sends

    return plant


BUGS: dict[str, Plant] = {
    "produce-before-the-flush": _produce_before_the_flush,
    "stay-after-an-abort": _stay_after_an_abort,
    "ignore-the-metadata": _ignore_the_metadata,
    "acknowledgement-outside": _outside(lambda topic: topic == ACKNOWLEDGEMENTS),
    "dead-letter-outside": _outside(lambda topic: topic.endswith(".dead-letters")),
}
