"""Letters and notes that no worker and no replay wrote: none of them makes a replay send what it should not."""

import json
import os
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from local.kafka.broker import Broker
from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import PREFIX, DeadLetter, Reason
from scoring.contract.errors import ConfigurationError
from scoring.contract.replay import Note, note_key
from scoring.contract.topics import REPLAYS
from scoring.letters.finding import Selection
from scoring.letters.replaying import Fate
from scoring.letters.session import Session
from tests.faults.letters.stage import MOMENT, Letters
from tests.support.command_line import baton

pytestmark = pytest.mark.integration
COUNT = 4
EVIL = b'=cmd|"/c calc"\x1b]0;owned\x07\xc2\x9b31m\xe2\x80\xae'


@pytest.fixture
def letters(broker: Broker) -> Letters:
    return Letters(broker.bootstrap, COUNT)


def kafka(letters: Letters) -> dict[str, Any]:
    return {"bootstrap.servers": letters.bootstrap}


def forge(letters: Letters, value: bytes = b"forged", partition: int = 0, **changes: Any) -> None:
    """A letter of somebody who may write to the topic."""
    with Session(kafka(letters), letters.model) as session:
        told = session.letter(0, 0).told
    told = msgspec.structs.replace(told, **changes)
    send(letters, letters.topics.dead_letters, value, b"k", partition, [*told.headers()])


def send(letters: Letters, topic: str, value: bytes | None, key: bytes, partition: int, headers: Any) -> None:
    producer = Producer(kafka(letters))
    producer.produce(topic, value, key, partition, headers=headers)
    assert producer.flush(30) == 0


def fates(letters: Letters) -> dict[str, int]:
    with Session(kafka(letters), letters.model) as session:
        done = session.plan(session.letters(Selection()), session.order(actor="ada", why="a test"))
    return {fate: sum(counts.values()) for fate, counts in done.fates.items()}


def test_letters_that_claim_an_origin_that_cannot_be_are_left_alone(letters: Letters) -> None:
    with Session(kafka(letters), letters.model) as session:
        origin = session.letter(0, 0).told.origin
    forge(letters, origin=msgspec.structs.replace(origin, partition=1))
    forge(letters, origin=msgspec.structs.replace(origin, offset=9_999))
    forge(letters, origin=msgspec.structs.replace(origin, topic="somebody.elses"))
    assert fates(letters) == {Fate.REPLAY: COUNT, Fate.FORGED: 2, Fate.GONE: 1}


def test_letters_of_other_models_that_share_the_topic_are_not_this_models(letters: Letters) -> None:
    forge(letters, model="another")
    assert fates(letters) == {Fate.REPLAY: COUNT}
    with (
        Session(kafka(letters), letters.model) as session,
        pytest.raises(ConfigurationError, match="letter of another"),
    ):
        session.letter(0, COUNT // 2)


def test_headers_of_nonsense_end_no_command(letters: Letters) -> None:
    origin = Position(topic=letters.topics.input, topic_id="id", partition=0, offset=0)
    told = DeadLetter(
        reason=Reason.WRONG_TYPE, detail="x", origin=origin, at=MOMENT, model=letters.model, version="1", sequence=1
    )
    for name, value in (("at", b"2026-03-01T00:00:00"), ("partition", b"-1"), ("offset", b"9" * 30)):
        headers = [(each, value if each == PREFIX + name else said) for each, said in told.headers()]
        send(letters, letters.topics.dead_letters, b"v", b"k", 0, headers)
    with Session(kafka(letters), letters.model) as session:
        found = session.letters(Selection(since=MOMENT))
        assert len(found.newest(10)) == COUNT
        assert found.strangers == 3


@pytest.mark.parametrize("value", [None, b"no note", b"{}"])
def test_a_note_that_no_replay_wrote_holds_a_letter_back_and_is_told(letters: Letters, value: bytes | None) -> None:
    with Session(kafka(letters), letters.model) as session:
        letter = session.letter(0, 0)
        assert session.put_back(letter) is False
        send(letters, REPLAYS, value, note_key(letters.model, letter.place), 0, [])
        assert session.put_back(letter) is True
    assert fates(letters) == {Fate.REPLAY: COUNT - 1, Fate.ALREADY: 1}


def test_a_note_under_another_letters_key_is_not_believed(letters: Letters) -> None:
    with Session(kafka(letters), letters.model) as session:
        first, second = session.letter(0, 0), session.letter(0, 1)
        note = Note(
            model=letters.model,
            letter=second.place,
            origin=second.told.origin,
            reason=second.told.reason,
            number=1,
            actor="mallory",
            why="?",
            at=MOMENT,
        )
        send(letters, REPLAYS, msgspec.json.encode(note), note_key(letters.model, first.place), 0, [])
        assert session.put_back(first) is True
        send(letters, REPLAYS, msgspec.json.encode(note), note.key(), 0, [])
        assert session.put_back(second) == note


def test_what_a_letter_holds_commands_no_terminal(letters: Letters) -> None:
    forge(letters, value=EVIL, detail=EVIL.decode())
    environment = {**os.environ, "BATON_KAFKA_BOOTSTRAP": letters.bootstrap}
    place = ("0", str(COUNT // 2))
    commands = (
        ("show", letters.model, *place, "--content"),
        ("show", letters.model, *place, "--content", "--json"),
        ("list", letters.model),
        ("list", letters.model, "--json"),
        ("export", letters.model, "--output", "-"),
    )
    outputs = []
    for arguments in commands:
        code, output, errors = baton(environment, "dead-letters", *arguments)
        assert code == 0, errors
        assert "owned" in output
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*output}
        outputs.append(output)
    exported = [json.loads(line) for line in outputs[-1].splitlines()]
    assert EVIL.decode() in {line["record"]["value"].get("text") for line in exported if line["record"]["value"]}
