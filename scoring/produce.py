"""Signed messages, sent and known to be there, for those who send a few of them now and then."""

from collections.abc import Sequence

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from scoring.contract.envelope import Sealed
from scoring.contract.errors import Unavailable
from scoring.kafka import Options, RecordHeaders, baton_error, client_options, kafka_errors

DELIVERY_TIMEOUT_S = 30.0


class Outgoing(msgspec.Struct, frozen=True):
    """A message to be sent, as it is."""

    key: bytes | None
    value: bytes | None
    headers: RecordHeaders

    @classmethod
    def of(cls, sealed: Sealed) -> "Outgoing":
        """A signed message."""
        return cls(sealed.key, sealed.value, [*sealed.headers])


def deliver(kafka: Options, topic: str, messages: Sequence[Outgoing], *, timeout_s: float = DELIVERY_TIMEOUT_S) -> None:
    """Send messages; comes back when the broker has taken all of them.

    Raises:
        ConfigurationError: the broker refuses them: there is no such topic, or no right to write to it.
        Unavailable: not all of them were taken in time; some may have been.
    """
    errors: list[KafkaError] = []

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            errors.append(error)

    doing = f"sending to {topic}"
    with kafka_errors(doing):
        limits = {"message_timeout_ms": int(timeout_s * 1000), "enable_idempotence": True}
        producer = Producer(client_options(kafka, **limits))
        for message in messages:
            producer.produce(topic, message.value, message.key, headers=list(message.headers), on_delivery=report)
        waiting = producer.flush(timeout_s)
    if errors:
        raise baton_error(doing, errors[0])
    if waiting:
        raise Unavailable(f"Kafka, while {doing}: {waiting} of {len(messages)} not taken within {timeout_s:.0f} s")
