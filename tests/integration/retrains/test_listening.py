"""The trigger in Airflow's own shared stream, on a real broker: rings, puts aside, and commits behind both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from airflow.providers.apache.kafka.triggers.shared_stream import KafkaBrokerPayload
from airflow.triggers.shared_stream import SharedStreamManager
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from baton_airflow.bell import LISTENER, Bell
from baton_airflow.listening import GROUP, MAXIMUM_KEPT_BYTES, Heard, Listener, RetrainTrigger, dead_letter
from scoring.contract.topics import RETRAINS
from scoring.kafka import admin_client, headers_of
from scoring.produce import Outgoing, deliver
from tests.support.retrains import BAD_REASONS, Inbox
from training.requests import coordinated

pytestmark = pytest.mark.timeout(400)

WITHIN_S = 120.0


class Triggerer:
    """Does with the trigger what Airflow's triggerer does; its database may be away.

    Attributes:
        rung: how many events came.
    """

    def __init__(self, inbox: Inbox, *, persisting: bool = True) -> None:
        path, arguments = Bell(inbox.model).serialize()
        assert path == LISTENER == f"{RetrainTrigger.__module__}.{RetrainTrigger.__name__}"
        self._trigger = RetrainTrigger(**arguments)
        self._manager = SharedStreamManager()
        self._persisting = persisting
        self.rung = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        listening = asyncio.create_task(self._listen())
        try:
            yield
            assert not listening.done(), "the trigger ended"
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            await self._manager.stop_all()

    async def _listen(self) -> None:
        key = self._trigger.shared_stream_key()
        stream = self._manager.subscribe(trigger_id=1, trigger=self._trigger, key=key)
        async for _ in self._trigger.filter_shared_stream(stream):
            self.rung += 1
            bound = self._manager.bind_pending_event(trigger_id=1, key=key)
            if self._persisting and bound is not None:
                self._manager.confirm_persisted([bound])


async def reached(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(done):  # noqa: ASYNC110  Kafka says so, and nobody who could set an event
            await asyncio.sleep(0.05)


def committed(inbox: Inbox) -> int:
    """Where the listener would go on after a restart."""
    consumer = Consumer({**inbox.kafka, "group.id": GROUP})
    try:
        (place,) = coordinated(lambda: consumer.committed([TopicPartition(RETRAINS, 0)], timeout=20))
        return max(place.offset, 0)
    finally:
        consumer.close()


def test_a_request_rings_and_its_offset_is_committed_once_the_event_is_persisted(inbox: Inbox) -> None:
    async def play() -> None:
        triggerer = Triggerer(inbox)
        async with triggerer.running():
            await reached(lambda: committed(inbox) >= inbox.pending().end)
            await asyncio.to_thread(inbox.ask, 3)
            await reached(lambda: triggerer.rung >= 3)
            await reached(lambda: committed(inbox) == inbox.pending().end)

    asyncio.run(play())


def test_an_event_that_was_not_persisted_rings_again_after_a_restart(inbox: Inbox) -> None:
    async def play() -> None:
        start = inbox.pending().end
        first, second = Triggerer(inbox, persisting=False), Triggerer(inbox)
        async with first.running():
            await asyncio.to_thread(inbox.ask, 2)
            await reached(lambda: first.rung >= 2)  # one of them at the least was read, whatever waited at the start
            assert committed(inbox) <= start
        async with second.running():
            await reached(lambda: second.rung >= 1)
            await reached(lambda: committed(inbox) == inbox.pending().end)

    asyncio.run(play())


def test_a_trigger_that_starts_rings_where_requests_wait_although_their_offsets_were_committed(inbox: Inbox) -> None:
    async def play() -> None:
        for _ in range(2):
            triggerer = Triggerer(inbox)
            async with triggerer.running():
                await asyncio.to_thread(inbox.ask, 1)
                await reached(lambda triggerer=triggerer: triggerer.rung >= 1)  # type: ignore[misc]
                await reached(lambda: committed(inbox) == inbox.pending().end)
        last = Triggerer(inbox)
        async with last.running():
            await reached(lambda: last.rung >= 1)

    asyncio.run(play())


def test_a_thousand_bad_messages_are_put_aside_with_their_reasons_and_the_good_one_behind_them_rings(
    inbox: Inbox,
) -> None:
    async def play() -> None:
        aside, triggerer = len(inbox.put_aside()), Triggerer(inbox)
        async with triggerer.running():
            await asyncio.to_thread(inbox.ask_badly, 1_000)
            await asyncio.to_thread(inbox.ask, 1)
            await reached(lambda: triggerer.rung >= 1)
            await reached(lambda: committed(inbox) == inbox.pending().end)
        letters = inbox.put_aside()[aside:]
        assert len({letter["offset"] for letter in letters}) == len(letters) >= 1_000
        assert {letter["reason"] for letter in letters} == BAD_REASONS
        assert {letter["topic"] for letter in letters} == {RETRAINS}

    asyncio.run(play())


HALF = MAXIMUM_KEPT_BYTES // 2


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (Outgoing(b"k", b"x" * HALF, [("own", b"1")]), ("key", "value", "own")),
        (Outgoing(b"k", b"x" * (MAXIMUM_KEPT_BYTES + 1), [("own", b"1")]), ("key", "own")),
        (Outgoing(b"k" * HALF, b"x" * HALF, [("own", b"1")]), ("key", "own")),
        (Outgoing(b"k" * HALF, b"x", [("own", b"y" * HALF)]), ("key",)),
        (Outgoing(b"k", None, [("", b"")] * HALF), ("key",)),
        (Outgoing(b"k" * 999_800, b"x", []), ()),
    ],
    ids=["whole", "large value", "large together", "large headers", "many headers", "large key"],
)
def test_what_is_put_aside_fits_whatever_part_of_it_is_large(record: Outgoing, kept: tuple[str, ...]) -> None:
    letter = dead_letter(place_of(record), datetime(2026, 4, 1, tzinfo=UTC))
    told = dict(letter.headers)
    there = {"key": letter.key, "value": letter.value, "own": told.get("own")}
    assert tuple(name for name, found in there.items() if found) == kept
    assert told["baton-dead-letter-reason"] == b"unsigned"
    assert told["baton-dead-letter-offset"] == b"7"
    # A producer that nobody sets anything for refuses what is larger, before it asks a broker.
    Producer({"bootstrap.servers": "127.0.0.1:1"}).produce("t", letter.value, letter.key, headers=[*letter.headers])


def place_of(record: Outgoing) -> KafkaBrokerPayload:
    return KafkaBrokerPayload(RETRAINS, 0, 7, Heard(record, refused="unsigned: no signature"))


def test_what_the_topic_does_not_take_all_the_same_is_put_aside_as_its_reason_alone(
    inbox: Inbox, unique_name: Callable[[str], str]
) -> None:
    tight = unique_name("tight")
    admin = admin_client(inbox.kafka)
    (made,) = admin.create_topics([NewTopic(tight, 1, config={"max.message.bytes": "1000"})]).values()
    made.result(WITHIN_S)
    Listener()._send_to_dlq(tight, [place_of(Outgoing(b"k", b"x" * 5_000, []))])
    consumer = Consumer({**inbox.kafka, "group.id": tight, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(tight, 0, 0)])
    found = consumer.poll(WITHIN_S)
    consumer.close()
    assert found is not None
    assert (found.key(), found.value()) == (None, None)
    assert dict(headers_of(found))["baton-dead-letter-reason"] == b"unsigned"


def test_a_large_message_that_nobody_signed_is_put_aside_and_the_good_one_behind_it_rings(inbox: Inbox) -> None:
    async def play() -> None:
        aside, triggerer = len(inbox.put_aside()), Triggerer(inbox)
        async with triggerer.running():
            # Compressed it is small, whatever the topic's own limit is.
            large = Outgoing(b"k" * 999_000, b"x", [])
            await asyncio.to_thread(deliver, {**inbox.kafka, "compression.type": "gzip"}, RETRAINS, [large])
            await asyncio.to_thread(inbox.ask, 1)
            await reached(lambda: triggerer.rung >= 1)
            await reached(lambda: committed(inbox) == inbox.pending().end)
        assert [letter["reason"] for letter in inbox.put_aside()[aside:]] == ["unsigned"]

    asyncio.run(play())
