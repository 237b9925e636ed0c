"""The past of ``past`` in an input topic as well: its records in any order, some of them aborted."""

import random
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from scoring.contract.clock import epoch_ms
from scoring.contract.manifest import Topics
from tests.support.broker import create_topic
from tests.support.past import RECORDS, Past, day, make_past, row, with_champions

PARTITIONS = 2


class Sender:
    """Writes into the input topic; what it aborts, no reader sees."""

    def __init__(self, past: Past) -> None:
        self._topic = past.environment["INPUT"]
        bootstrap = past.environment["BATON_KAFKA_BOOTSTRAP"]
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "transactional.id": self._topic, "linger.ms": 5, "log_level": 3}
        )
        self._producer.init_transactions(20)

    def send(self, *records: tuple[bytes | None, bytes | None, int], abort: bool = False) -> None:
        """Records as key, value and milliseconds since 1970, spread over the partitions."""
        self._producer.begin_transaction()
        for place, (key, value, timestamp) in enumerate(records):
            self._producer.produce(self._topic, value, key, place % PARTITIONS, timestamp=timestamp)
        if abort:
            self._producer.flush(20)
            self._producer.abort_transaction(20)
        else:
            self._producer.commit_transaction(20)
        # What is committed becomes visible when its markers are written, which the next transaction waits for.
        self._producer.begin_transaction()
        self._producer.produce(f"{self._topic}.settled", b"")
        self._producer.commit_transaction(20)

    def close(self) -> None:
        """Let go of the connection."""
        self._producer.close()


def past_in_topic(folder: Path, bootstrap: str, name: str) -> Past:
    """A past with champions whose bundles name an input topic, which is made and empty."""
    topics = Topics.of(name)
    # What was sent long ago by its timestamp would otherwise go at the broker's next look.
    create_topic(bootstrap, topics.input, partitions=PARTITIONS, settings={"retention.ms": "-1"})
    create_topic(bootstrap, f"{topics.input}.settled")
    found = with_champions(make_past(folder), topics=topics)
    found.environment["BATON_KAFKA_BOOTSTRAP"] = bootstrap
    found.environment["INPUT"] = topics.input
    return found


def ordinary(*numbers: int) -> list[tuple[bytes, bytes, int]]:
    """They were all sent long after their events."""
    return [(row(number)["id"].encode(), msgspec.json.encode(row(number)), epoch_ms(day(40))) for number in numbers]


def sender_of(past: Past) -> Sender:
    """A sender that has sent all records once, shuffled, and aborted some."""
    sender = Sender(past)
    shuffled = random.Random(1).sample(range(RECORDS), RECORDS)
    sender.send(*ordinary(*shuffled[: RECORDS // 2]))
    sender.send(*ordinary(*range(50)), abort=True)
    sender.send(*ordinary(*shuffled[RECORDS // 2 :]))
    return sender
