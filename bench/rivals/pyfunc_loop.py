"""The loop that people write today, written well: batches, one transactional producer, offsets in the transaction.

Settings are the best that were found: a producer that starts its next transaction at once needs short retries, or it
waits for the broker's CONCURRENT_TRANSACTIONS 20 to 100 ms each time.
"""

import json
import signal
import threading

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.rivals.model import Environment, answer, open_model

TIMEOUT_S = 30.0
WAIT_S = 0.05


def main() -> None:
    environment, stop = Environment(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    predict = open_model(environment.model)
    consumer = Consumer(
        {
            "bootstrap.servers": environment.bootstrap,
            "group.id": environment.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 5,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": environment.bootstrap,
            "transactional.id": environment.group,
            "linger.ms": 0.5,
            "batch.size": 1_000_000,
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 1,
        }
    )
    producer.init_transactions(TIMEOUT_S)
    consumer.subscribe([environment.source])
    while not stop.is_set():
        first = consumer.poll(WAIT_S)
        if first is None:
            continue
        messages = [first, *consumer.consume(environment.batch_records - 1, 0)]
        records = [json.loads(message.value() or b"") for message in messages if message.error() is None]
        scores = predict(records)
        producer.begin_transaction()
        for message, record, score in zip(messages, records, scores, strict=True):
            producer.produce(environment.target, json.dumps(answer(record, score)), message.key(), message.partition())  # type: ignore[arg-type]
        positions = [place for place in consumer.position(consumer.assignment()) if place.offset >= 0]
        producer.send_offsets_to_transaction(_offsets(positions), consumer.consumer_group_metadata(), TIMEOUT_S)
        producer.commit_transaction(TIMEOUT_S)
    consumer.close()


def _offsets(positions: list[TopicPartition]) -> list[TopicPartition]:
    return [TopicPartition(place.topic, place.partition, place.offset) for place in positions]


if __name__ == "__main__":
    main()
