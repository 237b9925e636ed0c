"""A model's topics with dead letters, and a judge that counts what was put back, from the topics alone."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter, Reason
from scoring.contract.manifest import Topics
from scoring.contract.topics import REPLAYS
from scoring.kafka import admin_client, topic_ids
from scoring.topics import ensure_topics
from tests.support.arena import read_all, wait_until_settled

PARTITIONS = 2
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
OWN = [("h", b"1"), ("h", b"2"), ("null", None), ("odd", b"\xff")]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the topics, by ``partition:offset`` of the dead letters.

    Attributes:
        lost: not put back; ``unnoted`` and ``unsent``: put back and not noted, and the other way round.
        altered: put back, but not as it was.
    """

    letters: int
    replayed: int
    lost: int
    doubled: int
    unnoted: int
    unsent: int
    altered: int

    @property
    def faultless(self) -> bool:
        """Nothing is doubled or altered, and records and notes agree; some may be yet to be put back."""
        return self.doubled + self.unnoted + self.unsent + self.altered == 0


class Letters:
    """The dead letters of a model of its own, each a second later than the one before it.

    Args:
        rare: reasons of some of them, by their numbers.
    """

    def __init__(self, bootstrap: str, count: int, rare: Mapping[int, Reason] = MappingProxyType({})) -> None:
        self.bootstrap = bootstrap
        self.count = count
        self.model = f"small_{uuid4().hex[:10]}"
        self.topics = Topics.of(self.model)
        kafka = {"bootstrap.servers": bootstrap}
        ensure_topics(kafka, [self.topics], PARTITIONS, replication=1)
        self._input_id = topic_ids(admin_client(kafka), [self.topics.input])[self.topics.input] or ""
        self._fill(Producer({**kafka, "linger.ms": 5}), rare)

    def _fill(self, producer: Producer, rare: Mapping[int, Reason]) -> None:
        for number in range(self.count):
            told = DeadLetter(
                reason=rare.get(number, list(Reason)[number % 3]),
                detail="a test",
                origin=Position(
                    topic=self.topics.input,
                    topic_id=self._input_id,
                    partition=number % PARTITIONS,
                    offset=number // PARTITIONS,
                ),
                at=MOMENT + timedelta(seconds=number),
                model=self.model,
                version="1",
                sequence=1,
            )
            headers: Any = [*OWN, *told.headers()]
            partition = number % PARTITIONS
            own: Any = OWN
            producer.produce(self.topics.input, _value(number), _key(number), partition, headers=own)
            producer.produce(self.topics.dead_letters, _value(number), _key(number), partition, headers=headers)
        assert producer.flush(30) == 0

    def rest(self) -> None:
        """Wait until all is seen that was committed; no replay may be under way, or have died in a transaction."""
        wait_until_settled(self.bootstrap, self.topics.input, REPLAYS)

    def settled(self, within_s: float = 15.0) -> Found:
        """Count, and again while notes and records disagree: a commit's markers reach partition after partition."""
        deadline_s = time.monotonic() + within_s
        while not (found := self.judge()).faultless and found.doubled + found.altered == 0:
            if time.monotonic() > deadline_s:
                return found
            time.sleep(0.5)
        return found

    def judge(self) -> Found:
        """Count; asserts first that the dead letters are all there."""
        letters = read_all(self.bootstrap, self.topics.dead_letters)
        assert len(letters) == self.count > 0
        by_place = {f"{letter.partition}:{letter.offset}": letter for letter in letters}
        back = [record for record in read_all(self.bootstrap, self.topics.input) if _of(record.headers) is not None]
        sent = Counter(_of(record.headers) for record in back)
        noted = Counter(
            f"{note['letter']['partition']}:{note['letter']['offset']}"
            for note in (json.loads(record.value or b"") for record in read_all(self.bootstrap, REPLAYS))
            if note["model"] == self.model
        )
        altered = 0
        for record in back:
            origin = by_place.get(_of(record.headers) or "")
            same = origin is not None and (record.key, record.value) == (origin.key, origin.value)
            altered += not same or record.headers[: len(OWN)] != OWN
        return Found(
            letters=len(letters),
            replayed=len(sent),
            lost=len(by_place.keys() - sent.keys()),
            doubled=sum(count - 1 for count in sent.values()) + sum(count - 1 for count in noted.values()),
            unnoted=len(sent.keys() - noted.keys()),
            unsent=len(noted.keys() - sent.keys()),
            altered=altered,
        )


def _value(number: int) -> bytes | None:
    return None if number % 7 == 0 else b"\xff%d" % number


def _key(number: int) -> bytes | None:
    return None if number % 5 == 0 else b"k%d" % number


def _of(headers: list[tuple[str, bytes]]) -> str | None:
    """The dead letter that a record names."""
    place = dict(headers).get("baton-replay-of")
    return None if place is None else ":".join(place.decode().split("/")[-2:])
