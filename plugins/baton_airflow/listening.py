"""Listens to ``baton.retrains`` in the triggerer, and rings the bell of the model that a message asks for.

One consumer serves the triggers of all models in a triggerer. It joins no group, so that each of several triggerers
hears every message; its offset is committed once Airflow's database has the events and what must not be believed is in
the dead-letter topic. An event only wakes: which requests a run covers is counted from the topic itself
(``training.requests``). A trigger that starts rings at once where requests are waiting, whatever was committed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import structlog
from airflow.providers.apache.kafka.triggers.shared_stream import (
    KafkaBrokerPayload,
    KafkaSharedStreamProducer,
    KafkaSharedStreamTrigger,
)
from airflow.triggers.base import TriggerEvent
from airflow.triggers.shared_stream import reject_shared_stream_event
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from baton_airflow.bell import LISTENER
from scoring.contract.clock import rfc3339
from scoring.contract.dead_letter import MAXIMUM_DETAIL_CHARACTERS, PREFIX
from scoring.contract.errors import BatonError, ConfigurationError, EnvelopeRejected
from scoring.contract.retrain import unseal_retrain
from scoring.contract.topics import RETRAINS, RETRAINS_REFUSED
from scoring.kafka import TIMEOUT_S, client_options, headers_of, kafka_errors, require_topics
from scoring.produce import Outgoing, deliver
from scoring.settings import read_settings
from training.requests import Requests, coordinated

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")

# Each model has a group of such a name, but no model's name has a hyphen.
GROUP = "baton-retrain-every-model"
POLL_S = 1.0
# Before a broker or a topic that is away is asked again.
AWAY_S = 15.0
# Of key, value and headers together; what is larger would not fit beside the headers that say why.
MAXIMUM_KEPT_BYTES = 2**19
# What Kafka's format may add to a header: its two lengths.
_HEADER_BYTES = 10


class Heard(msgspec.Struct, frozen=True):
    """A record of the topic, read.

    Attributes:
        model: whom it is for; None where it must not be believed, ``refused`` then says why.
    """

    record: Outgoing
    model: str | None = None
    refused: str = ""


class Listener(KafkaSharedStreamProducer):
    """The one consumer, by Baton's own settings in place of a connection of Airflow's.

    Nothing that a message holds ends it, and an absent broker or topic is waited for.
    """

    def __init__(self) -> None:
        super().__init__(topics=[RETRAINS], dlq_topic=RETRAINS_REFUSED)

    async def open_stream(self) -> AsyncIterator[tuple[Heard, KafkaBrokerPayload]]:
        """Yield every record with its place, for ever."""
        self._consumer = consumer = await patiently(_assigned)
        while True:
            message = await asyncio.to_thread(consumer.poll, POLL_S)
            if message is None:
                continue
            if message.error() is not None:
                log.warning("retrains.away", error=str(message.error()))
                await asyncio.sleep(AWAY_S)
                continue
            heard = await asyncio.to_thread(hear, message)
            yield heard, KafkaBrokerPayload(RETRAINS, message.partition() or 0, message.offset() or 0, heard)

    def _send_to_dlq(self, topic: str, payloads: list[KafkaBrokerPayload]) -> None:
        """Put records aside with the reason; the provider's own way would not notice that the broker refuses them."""
        kafka, now = read_settings().need_kafka(), datetime.now(UTC)
        letters = [dead_letter(payload, now) for payload in payloads]
        try:
            deliver(kafka, topic, letters)
        except ConfigurationError:
            # Too large for a topic with limits of its own, perhaps. It must not end the triggers: all would begin anew.
            deliver(kafka, topic, [dead_letter(payload, now, most=0) for payload in payloads])
        log.warning("retrains.refused", records=len(letters), topic=topic)


class RetrainTrigger(KafkaSharedStreamTrigger):
    """Fires for each request for a retrain of ``model``."""

    def __init__(self, model: str) -> None:
        super().__init__(topics=[RETRAINS], dlq_topic=RETRAINS_REFUSED)
        self.model = model

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as Airflow's database keeps them."""
        return LISTENER, {"model": self.model}

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Listener:  # noqa: ARG003  Airflow's signature
        """The consumer that all models share."""
        return Listener()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """An event where requests are waiting already, and one for each that comes; the rest is put aside."""
        if await patiently(self._waiting):
            yield self._event()
        async for heard in shared_stream:
            if heard.model is None:
                reject_shared_stream_event()
            elif heard.model == self.model:
                yield self._event()

    def _event(self) -> TriggerEvent:
        return TriggerEvent({"model": self.model})  # type: ignore[no-untyped-call]

    def _waiting(self) -> bool:
        settings = read_settings()
        with Requests(settings.need_kafka(), settings.need_keyring(), self.model) as requests:
            return bool(requests.pending().asked)


async def patiently(call: Callable[[], Answer], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> Answer:
    """The call's answer from a thread, asked for until there is one: a trigger that ends would only be begun again."""
    while True:
        try:
            return await asyncio.to_thread(call)
        except BatonError as error:
            log.warning("retrains.away", error=str(error))
            await sleep(AWAY_S)


def hear(message: Message) -> Heard:
    """What a record asks for.

    Raises:
        ConfigurationError: the signing keys cannot be read; the record is read again.
    """
    record = Outgoing(message.key(), message.value(), headers_of(message))
    try:
        asked = unseal_retrain(record.key, record.value, record.headers, read_settings().need_keyring())
    except EnvelopeRejected as error:
        return Heard(record, refused=str(error))
    return Heard(record, model=asked.request.model)


def dead_letter(payload: KafkaBrokerPayload, now: datetime, *, most: int = MAXIMUM_KEPT_BYTES) -> Outgoing:
    """A record as it was, or as much of it as may be kept, with the reason and its place in additional headers.

    Args:
        most: bytes of it that are kept; 0 leaves the reason and the place alone.
    """
    heard: Heard = payload.value
    record = _kept(heard.record, most)
    reason, _, detail = heard.refused.partition(": ")
    told = {
        "reason": reason,
        "detail": detail[:MAXIMUM_DETAIL_CHARACTERS],
        "topic": payload.topic,
        "partition": str(payload.partition),
        "offset": str(payload.offset),
        "at": rfc3339(now),
    }
    headers = [(PREFIX + name, text.encode("utf-8", "replace")) for name, text in told.items()]
    return Outgoing(record.key, record.value, [*record.headers, *headers])


def _kept(record: Outgoing, most: int) -> Outgoing:
    """Without the value where the whole is too large, then without the headers, then without the key."""
    less = [record, Outgoing(record.key, None, record.headers), Outgoing(record.key, None, [])]
    return next((each for each in less if _size(each) <= most), Outgoing(None, None, []))


def _size(record: Outgoing) -> int:
    headers = sum(len(name.encode()) + len(value or b"") + _HEADER_BYTES for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _assigned() -> Consumer:
    """A consumer that goes on where the last one of this or another triggerer came to."""
    kafka = read_settings().need_kafka()
    require_topics(kafka, [RETRAINS, RETRAINS_REFUSED])
    options = client_options(kafka, group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest")
    with kafka_errors("listening for requests for retrains"):
        consumer = Consumer(options)
        (place,) = coordinated(lambda: consumer.committed([TopicPartition(RETRAINS, 0)], timeout=TIMEOUT_S))
        offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
        consumer.assign([TopicPartition(RETRAINS, 0, offset)])
    return consumer
