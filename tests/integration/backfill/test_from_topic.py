"""``baton backfill --from-topic``: the records of a real topic by their event time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from local.kafka.broker import Broker
from scoring.backfill import topic as topic_module
from scoring.backfill.chunks import Place
from scoring.cli import group
from scoring.contract.clock import epoch_ms, rfc3339
from scoring.contract.manifest import Topics
from tests.support.backfills import rows_of
from tests.support.past import LACKING, MODEL, RECORDS, Past, day, moment_of, row
from tests.support.past_in_topic import Sender, ordinary, past_in_topic, sender_of

PERIOD = ("--from", rfc3339(day(0.5)), "--to", rfc3339(day(3.5)))
INSIDE = [number for number in range(RECORDS) if day(0.5) <= moment_of(number) < day(3.5)]


@pytest.fixture
def past(tmp_path: Path, broker: Broker, unique_name: Callable[[str], str]) -> Iterator[Past]:
    found = past_in_topic(tmp_path, broker.bootstrap, unique_name("small"))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in found.environment.items():
            environment.setenv(name, value)
        environment.setattr(topic_module, "PART_OFFSETS", 64)
        yield found


def baton(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["backfill", *arguments])


def answer(*arguments: str) -> Any:
    found = baton(*arguments, "--json")
    assert found.exit_code == 0, found.output or found.exception
    return json.loads(found.stdout)


def place(past: Past, name: str) -> Place:
    return Place(model=MODEL, name=name, url=past.environment["BATON_PREDICTIONS_URL"])


@pytest.fixture
def sender(past: Past) -> Iterator[Sender]:
    sender = sender_of(past)
    yield sender
    sender.close()


def test_every_record_of_the_period_comes_out_once_as_from_the_sources(past: Past, sender: Sender) -> None:
    told = answer(MODEL, *PERIOD, "--from-topic", "--name", "topic", "--processes", "1")
    answer(MODEL, *PERIOD, "--name", "sources", "--processes", "1")
    names = [
        "record_key",
        "event_time",
        "score",
        "decision",
        "pass_through",
        "lookups",
        "reason",
        "version",
        "sequence",
    ]
    ours, theirs = (sorted(rows_of(place(past, name), names), key=str) for name in ("topic", "sources"))
    assert ours == theirs
    assert len(ours) == told["rows"] == len(INSIDE)
    assert told["failures"] == len(LACKING & {*INSIDE})
    places = rows_of(place(past, "topic"), ["input_partition", "input_offset"])
    assert len(set(places)) == len(places)


def test_several_processes_write_the_same_rows(past: Past, sender: Sender) -> None:
    digests = [
        answer(MODEL, *PERIOD, "--from-topic", "--name", name, "--processes", processes)["digest"]
        for name, processes in (("one", "1"), ("two", "2"))
    ]
    assert digests[0] == digests[1]


def test_what_cannot_be_read_counts_where_it_was_sent_and_says_why(past: Past, sender: Sender) -> None:
    inside, outside = epoch_ms(day(2)), epoch_ms(day(9))
    sender.send(
        (b"broken", b"{", inside),
        (b"gone", None, inside),
        (b"\xff", b"[]", inside),
        (None, b"{}", inside),
        (b"elsewhere", b"{", outside),
        (b"wordy", msgspec.json.encode({**row(1), "x": "much", "at": rfc3339(day(1))}), outside),
        (b"late", msgspec.json.encode({**row(1), "x": "much", "at": rfc3339(day(9))}), inside),
    )
    answer(MODEL, *PERIOD, "--from-topic", "--name", "bad", "--processes", "1")
    names = ["record_key", "event_time", "reason", "score"]
    failed = {key: rest for key, *rest in rows_of(place(past, "bad"), names) if rest[1] is not None}
    lacking = {row(number)["id"]: [moment_of(number), "wrong-type", None] for number in LACKING & {*INSIDE}}
    assert failed == {
        **lacking,
        "broken": [None, "malformed-json", None],
        "gone": [None, "null-value", None],
        "base64:/w==": [None, "wrong-type", None],
        None: [None, "missing-field", None],
        "wordy": [day(1), "wrong-type", None],
    }


def test_what_comes_later_has_no_part_in_it(past: Past, sender: Sender) -> None:
    words = (MODEL, *PERIOD, "--from-topic", "--name", "then", "--processes", "1")
    first = answer(*words)
    sender.send(*ordinary(100, 101))
    assert answer(*words) == {**first, "found": first["chunks"]}


def test_records_that_retention_took_are_missed(past: Past, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were there when it began."""
    began = topic_module.TopicRecords.read
    admin = AdminClient({"bootstrap.servers": past.environment["BATON_KAFKA_BOOTSTRAP"]})

    def read(self: Any, part: Any) -> Any:
        gone = admin.delete_records([TopicPartition(past.environment["INPUT"], 1, 10)])
        assert all(future.result(20) for future in gone.values())
        return began(self, part)

    monkeypatch.setattr(topic_module.TopicRecords, "read", read)
    found = baton(MODEL, *PERIOD, "--from-topic", "--processes", "1")
    assert "partition 1 begins at offset 10 now, and at 0 when this backfill began" in str(found.exception)


def test_a_topic_that_is_not_there_is_named(past: Past) -> None:
    topics = Topics.of("nobody")
    past.register(4, start=day(-30), end=day(-20), topics=topics)
    found = baton(MODEL, *PERIOD, "--from-topic", "--version", "4")
    assert "nobody.input" in str(found.exception)


def test_versions_that_read_several_topics_are_refused(past: Past) -> None:
    past.register(4, start=day(-30), end=day(-20), topics=Topics.of("nobody"))
    past.promote(4, effective_from=day(3.2))
    found = baton(MODEL, *PERIOD, "--from-topic")
    assert "its versions read several topics: nobody.input, " in str(found.exception)
