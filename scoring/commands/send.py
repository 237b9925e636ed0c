"""``baton send``: produce records into a model's input topic, to try things out."""

import sys
from typing import Any, BinaryIO

import click
import msgspec
from confluent_kafka import KafkaError, Message, Producer

from scoring.console import EXIT_REFUSED, topics_of, topics_option
from scoring.contract.errors import ConfigurationError
from scoring.kafka import client_options, kafka_errors
from scoring.settings import read_settings

FLUSH_S = 60.0


@click.command(
    epilog="""Examples:

\b
  baton send late_parcel parcels.jsonl --key parcel_id
  echo '{"parcel_id": "a1", "handed_in_at": "2026-03-01T10:00:00Z"}' | baton send late_parcel --key parcel_id
"""
)
@click.argument("model")
@click.argument("records", type=click.File("rb"), default="-")
@click.option(
    "--key", "key_field", help="Field whose value becomes the Kafka key; records of one key keep their order."
)
@topics_option
def command(model: str, records: BinaryIO, key_field: str | None, named_topics: str | None) -> None:
    """Send RECORDS, one JSON document a line, to MODEL's input topic.

    A line that is not a JSON object goes out too, without a key: the worker makes it a dead letter. Exit status 1 when
    the broker did not take a record.
    """
    settings = read_settings()
    topic = topics_of(settings, model, named_topics).input
    failures: list[str] = []

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error.str())

    with kafka_errors(f"sending to {topic}"):
        producer = Producer(client_options(settings.need_kafka(), linger_ms=5))
        sent = sum(
            _produce(producer, topic, line.rstrip(b"\r\n"), key_field, report) for line in records if line.strip()
        )
        waiting = producer.flush(FLUSH_S)
    if failures or waiting:
        why = failures[0] if failures else f"no answer within {FLUSH_S:.0f} s"
        click.echo(f"{len(failures) + waiting} of {sent} records were not taken by {topic}: {why}", err=True)
        sys.exit(EXIT_REFUSED)
    click.echo(f"{sent} records sent to {topic}; see what came of them with: baton tail {model}", err=True)


def _produce(producer: Producer, topic: str, value: bytes, key_field: str | None, report: Any) -> int:
    while True:
        try:
            producer.produce(topic, value, _key(value, key_field), on_delivery=report)
            producer.poll(0)
        except BufferError:  # the client's queue is full: let it drain
            producer.poll(0.1)
        else:
            return 1


def _key(value: bytes, field: str | None) -> bytes | None:
    if field is None:
        return None
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError):
        return None
    if not isinstance(found, dict):
        return None
    if field not in found:
        raise ConfigurationError(f"--key {field}: a record has no such field; it has {', '.join(sorted(found))}")
    return str(found[field]).encode()
