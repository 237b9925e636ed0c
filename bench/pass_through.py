"""A bare pass-through: reads, copies key and value, and commits as a worker does; no record is looked into.

The upper bound for anything that scores: Baton's settings of the clients, its two producers in turn with its committer
(protocol B.3, B.4), the same size of micro-batches; between consuming and producing there is nothing. A rebalance ends
it: it runs alone.

    BATON_… python -m bench.pass_through INPUT OUTPUT
"""

import sys
from collections.abc import Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from scoring.service.stop import Stop, stop_on_signals
from scoring.settings import Settings, read_settings
from scoring.worker.clients import consumer_settings, producer_settings
from scoring.worker.committer import POLL_S, Transaction
from scoring.worker.delivery import AtLeastOnce, ExactlyOnce
from scoring.worker.loop import GATHER_WAIT_S
from scoring.worker.pipeline import Pipeline

WAIT_S = 0.05


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    stop = Stop()
    with stop_on_signals(stop):
        run(read_settings(), sys.argv[1], sys.argv[2], stop)


def run(settings: Settings, source: str, target: str, stop: Stop) -> None:
    consumer, delivery, producers = _delivery(settings)
    pipeline = Pipeline(producers, delivery, stop.overdue)
    pipeline.start()
    consumer.subscribe([source], on_assign=_from_the_beginning)
    while not stop.requested():
        pipeline.collect()
        pipeline.committed.clear()
        first = consumer.poll(WAIT_S)
        if first is None:
            continue
        most = settings.maximum_batch_records
        messages = [first, *consumer.consume(most - 1, 0)]
        producer = pipeline.begin()
        offsets = _copy(producer, target, messages)
        records = len(messages)
        pipeline.collect()
        while pipeline.committing and records < most:  # as a worker gathers
            if more := consumer.consume(most - records, GATHER_WAIT_S):
                offsets |= _copy(producer, target, more)
                records += len(more)
            pipeline.collect()
        group = consumer.consumer_group_metadata()
        pipeline.hand_over(Transaction(producer, [*offsets.values()], group))
    pipeline.drain()
    consumer.close()


def _copy(producer: Producer, target: str, messages: Sequence[Message]) -> dict[int, TopicPartition]:
    """Produce what was consumed; by partition the offset behind it."""
    produce, following = producer.produce, {}
    for message in messages:
        partition = message.partition()
        while True:
            try:
                produce(target, message.value(), message.key(), partition)  # type: ignore[arg-type]
                break
            except BufferError:
                producer.poll(POLL_S)
        following[partition] = message
    source = messages[0].topic()
    return {number: TopicPartition(source, number, last.offset() + 1) for number, last in following.items()}  # type: ignore[arg-type,misc,operator]


def _delivery(settings: Settings) -> tuple[Consumer, Any, tuple[Producer, Producer]]:
    member = consumer_settings(settings)
    producers = Producer(producer_settings(settings, 0)), Producer(producer_settings(settings, 1))
    if settings.delivery == "at-least-once":
        delivery = AtLeastOnce(lambda more: Consumer({**member, **more}))
        return delivery.consumer, delivery, producers
    for producer in producers:
        producer.init_transactions(20)
    return Consumer(member), ExactlyOnce(), producers


def _from_the_beginning(consumer: Consumer, assigned: list[TopicPartition]) -> None:
    consumer.incremental_assign([TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in assigned])


if __name__ == "__main__":
    main()
