"""Replays records of a period from a model's sources into its input topic, as if they happened now.

The event time is in the record, the present is Kafka's timestamp. Records go out in event order, partitioned by key,
each with a ``correlation-id`` that occurs once; the pace may change while the replay runs, and a replay that returns
has had every record acknowledged by the broker.

``python -m local.replay --from 2013-04-01 --to 2013-05-01 --rate 1000``
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as Delivered

from scoring.contract.clock import epoch_s
from scoring.contract.errors import BatonError
from scoring.settings import Settings, read_settings
from training.catalog import load_definition
from training.definition import ModelDefinition
from training.messages import messages

IDENTITY_HEADER = "correlation-id"
MODELS = Path(__file__).resolve().parent.parent / "models"

_STEP_S = 0.004
# After a stall the replay goes on at its pace; it does not make up for the time that it lost in one burst.
_LONGEST_CREDIT_S = 0.05
_FLUSH_S = 30.0


class NotDelivered(Exception):
    """The broker did not acknowledge every record."""


@dataclass(frozen=True, slots=True)
class Message:
    """A record to send. ``event_s`` is its event time in seconds since 1970, None where it has none."""

    key: bytes | None
    value: bytes | None
    event_s: float | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a replay is.

    Attributes:
        sent: records produced so far, of ``total``.
        elapsed_s: since the replay began.
        event_s: event time of the newest record, seconds since 1970.
    """

    sent: int
    total: int
    elapsed_s: float
    event_s: float | None = None


def read_messages(definition: ModelDefinition, settings: Settings, start: datetime, end: datetime) -> list[Message]:
    """The records of a model's source with an event time in ``[start, end)``, in the order of their events.

    Raises:
        Unavailable, ConfigurationError: the source cannot be read.
    """
    found = messages(definition, settings, start, end)
    return [Message(message.key, message.value, epoch_s(message.event_time)) for message in found]


Pace = Callable[[Position], float]
"""Records per second from here on."""


def steady(records_per_s: float) -> Pace:
    """The same pace from beginning to end."""
    return lambda _: records_per_s


class Credit:
    """Turns a pace and the passing of time into a number of records that are due. Times are monotonic seconds."""

    def __init__(self, now_s: float) -> None:
        self._then_s = now_s
        self._due = 0.0

    def take(self, now_s: float, records_per_s: float) -> int:
        """Whole records that have become due since the last call; what is left of one is kept."""
        passed_s = min(max(now_s - self._then_s, 0.0), _LONGEST_CREDIT_S)
        self._then_s = now_s
        self._due += passed_s * max(records_per_s, 0.0)
        whole = int(self._due)
        self._due -= whole
        return whole


@dataclass
class Deliveries:
    """Counts what the broker acknowledged; its ``report`` is the producer's delivery callback and never raises."""

    acknowledged: int = 0
    errors: list[str] = field(default_factory=list)

    def report(self, error: KafkaError | None, message: Delivered) -> None:
        """Note one record's fate."""
        if error is None:
            self.acknowledged += 1
        else:
            self.errors.append(f"{message.topic()}: {error}")


class Replay:
    """One replay into one topic. ``position`` may be read from any thread while ``run`` is running.

    Args:
        kafka: librdkafka options that reach the broker.
        run_id: makes the identities of this replay's records differ from every other's.
    """

    def __init__(self, kafka: Mapping[str, Any], topic: str, messages: Sequence[Message], *, run_id: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._messages = messages
        self._run_id = run_id
        self._stopped = threading.Event()
        self.position = Position(0, len(messages), 0.0)

    def stop(self) -> None:
        """Ask ``run`` to return early; what was sent is still waited for."""
        self._stopped.set()

    def run(self, pace: Pace) -> int:
        """Send the messages and return how many the broker acknowledged.

        Raises:
            NotDelivered: some were not acknowledged.
        """
        producer, deliveries = Producer(_producer_options(self._kafka)), Deliveries()
        began_s = time.monotonic()
        credit, sent = Credit(began_s), 0
        while sent < len(self._messages) and not self._stopped.is_set() and not deliveries.errors:
            now_s = time.monotonic()
            due = credit.take(now_s, pace(self.position))
            for number, message in enumerate(self._messages[sent : sent + due], start=sent):
                self._produce(producer, message, number, deliveries)
            sent = min(sent + due, len(self._messages))
            self.position = Position(sent, len(self._messages), now_s - began_s, self._event_s(sent))
            producer.poll(_STEP_S)
        unsent = producer.flush(_FLUSH_S)
        if deliveries.errors or unsent or deliveries.acknowledged != sent:
            raise NotDelivered(_complaint(self._topic, sent, deliveries, unsent))
        return sent

    def _produce(self, producer: Producer, message: Message, number: int, deliveries: Deliveries) -> None:
        headers: list[tuple[str, str | bytes | None]] = [(IDENTITY_HEADER, f"{self._run_id}-{number:06d}".encode())]
        while True:
            try:
                producer.produce(
                    self._topic, message.value, message.key, headers=headers, on_delivery=deliveries.report
                )
            except BufferError:  # the queue is full: let it drain
                producer.poll(0.1)
            else:
                return

    def _event_s(self, sent: int) -> float | None:
        return self._messages[sent - 1].event_s if sent else None


def _producer_options(kafka: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **kafka,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 2,
        "partitioner": "murmur2_random",  # where Java clients would put the key
        "delivery.timeout.ms": 30_000,
        "log_level": 3,  # errors; a coordinator that is still loading is none
    }


def _complaint(topic: str, sent: int, deliveries: Deliveries, unsent: int) -> str:
    first = f": {deliveries.errors[0]}" if deliveries.errors else ""
    return f"{topic}: of {sent} records {deliveries.acknowledged} were acknowledged, {unsent} still wait{first}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", default="flight_delay", show_default=True, help="The model whose source is replayed.")
@click.option(
    "--models-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the model definitions; by default BATON_MODELS_DIR, or the project's.",
)
@click.option("--from", "start", type=click.DateTime(), help="First event time, in UTC.")
@click.option("--to", "end", type=click.DateTime(), help="Event time before which the replay ends.")
@click.option("--days", type=click.IntRange(min=1), help="Instead of both: so many days before last midnight, in UTC.")
@click.option("--rate", default=1000.0, show_default=True, help="Records per second.")
def command(
    model: str, models_dir: Path | None, start: datetime | None, end: datetime | None, days: int | None, rate: float
) -> None:
    """Replay the records of a period from a model's sources into its input topic.

    Settings come from the environment: . var/stack.env
    """
    settings = read_settings(models_dir=models_dir)
    definition = load_definition(settings.models_dir or MODELS, model)
    found = read_messages(definition, settings, *_period(start, end, days))
    topic = definition.all_topics.input
    click.echo(f"replay: {len(found):,} records into {topic}, {rate:,.0f} a second")
    began_s = time.monotonic()
    sent = Replay(settings.need_kafka(), topic, found, run_id=f"replay-{uuid4().hex[:8]}").run(steady(rate))
    click.echo(f"replay: {sent:,} records acknowledged after {time.monotonic() - began_s:.1f} s")


def _period(start: datetime | None, end: datetime | None, days: int | None) -> tuple[datetime, datetime]:
    if days is not None and start is None and end is None:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=days), midnight
    if days is not None or start is None or end is None:
        raise click.UsageError("give --from and --to, or --days alone")
    return start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)


def main() -> None:
    """Run the command line: exit 0 done, 1 failed."""
    try:
        command(prog_name="python -m local.replay")
    except (BatonError, NotDelivered) as error:
        click.echo(f"replay: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
