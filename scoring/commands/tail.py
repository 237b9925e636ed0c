"""``baton tail``: the newest predictions or dead letters of a model."""

import time
from collections import deque

import click
import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from scoring.console import topics_of, topics_option
from scoring.contract.dead_letter import PREFIX
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.kafka import Options, client_options, headers_of, kafka_errors
from scoring.settings import read_settings

TIMEOUT_S = 10.0
POLL_S = 0.5
MARKERS = 4


@click.command(
    epilog="""Examples:

\b
  baton tail flight_delay
  baton tail flight_delay --last 100 | jq .score
  baton tail flight_delay --dead-letters --follow
"""
)
@click.argument("model")
@click.option("--last", default=10, show_default=True, type=click.IntRange(min=0), help="How many.")
@click.option("--dead-letters", is_flag=True, help="Records that could not be scored, with their reasons.")
@click.option("--follow", is_flag=True, help="Go on with new ones until interrupted.")
@topics_option
def command(model: str, *, last: int, dead_letters: bool, follow: bool, named_topics: str | None) -> None:
    """Write the newest predictions of MODEL, one JSON document a line, oldest first.

    Only what is committed is shown. A dead letter is shown with its reason and its value as text.
    """
    settings = read_settings()
    topics = topics_of(settings, model, named_topics)
    topic = topics.dead_letters if dead_letters else topics.predictions
    shown = _letter if dead_letters else _prediction
    with kafka_errors(f"reading {topic}"):
        consumer = _consumer(settings.need_kafka())
        try:
            for message in _newest(consumer, topic, last):
                click.echo(shown(message))
            while follow:
                for message in consumer.consume(500, POLL_S):
                    if message.error() is None:
                        click.echo(shown(message))
        except KeyboardInterrupt:
            click.echo(err=True)
        finally:
            consumer.close()


def _consumer(kafka: Options) -> Consumer:
    return Consumer(
        client_options(
            kafka,
            group_id="baton-tail",
            enable_auto_commit=False,
            isolation_level="read_committed",
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            fetch_wait_max_ms=50,
        )
    )


def _newest(consumer: Consumer, topic: str, last: int) -> list[Message]:
    """The newest committed records of all partitions, oldest first; reading stands at the end of each afterwards.

    Raises:
        ConfigurationError: there is no such topic.
        Unavailable: the broker does not deliver them in time.
    """
    described = consumer.list_topics(topic, TIMEOUT_S).topics[topic]
    if described.error is not None:
        raise ConfigurationError(
            f"topic {topic}: {described.error.str()}; `baton topics create` makes a model's topics"
        )
    consumer.assign([_start(consumer, TopicPartition(topic, number), last) for number in described.partitions])
    found: dict[int, deque[Message]] = {number: deque(maxlen=last) for number in described.partitions}
    unfinished, deadline = set(found), time.monotonic() + TIMEOUT_S
    while unfinished:
        for message in consumer.consume(500, POLL_S):
            error, number = message.error(), message.partition() or 0
            if error is None:
                found[number].append(message)
                deadline = time.monotonic() + TIMEOUT_S
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the client's public name for it
                unfinished.discard(number)
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka, while reading {topic}: no answer within {TIMEOUT_S:.0f} s")
    newest = sorted((message for each in found.values() for message in each), key=lambda m: m.timestamp()[1])
    return newest[-last:] if last else []


def _start(consumer: Consumer, place: TopicPartition, last: int) -> TopicPartition:
    """Far enough before the end: between records stand the markers of transactions, and what was aborted."""
    low, high = consumer.get_watermark_offsets(place, TIMEOUT_S)
    return TopicPartition(place.topic, place.partition, max(low, high - MARKERS * last))


def _prediction(message: Message) -> bytes:
    return message.value() or b"null"


def _letter(message: Message) -> bytes:
    headers = [(name, value) for name, value in headers_of(message) if name.startswith(PREFIX)]
    known = {name.removeprefix(PREFIX): (value or b"").decode("utf-8", "replace") for name, value in headers}
    return msgspec.json.encode({**known, "key": _text(message.key()), "value": _text(message.value())})


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "replace")
