"""Dead letters of a real worker: listed, shown, exported, and put back after what was wrong is mended."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition

from local.kafka.broker import Broker
from scoring.contract.dead_letter import Reason
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import Field, FieldType
from scoring.contract.topics import INPUT_MAXIMUM_BYTES, REPLAYS
from scoring.letters.finding import Selection
from scoring.letters.notes import noted
from scoring.letters.session import Session
from scoring.letters.text import Text
from scoring.topics import ensure_topics
from tests.faults.letters.stage import Letters
from tests.support.arena import read_all, wait_until_settled
from tests.support.broker import MakeTopic
from tests.support.bundles import small_schema
from tests.support.command_line import baton
from tests.support.ground import Ground, record

pytestmark = pytest.mark.integration

OWN: list[tuple[str, bytes | None]] = [("h", b"\xff"), ("null", None), ("correlation-id", b"c")]


@pytest.fixture
def ground(broker: Broker, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(broker.bootstrap, tmp_path)
    ensure_topics({"bootstrap.servers": broker.bootstrap}, [], replication=1)
    made.promote(1)
    made.start()
    yield made
    made.close()


def call(ground: Ground, *arguments: str) -> tuple[int, str, str]:
    return baton(ground.environment(0), "dead-letters", *arguments)


def answer(ground: Ground, *arguments: str, status: int = 0) -> Any:
    code, output, errors = call(ground, *arguments, "--json")
    assert code == status, errors
    return json.loads(output)


def lacking(number: int) -> bytes:
    """A record without its x: version 1 requires it."""
    found = json.loads(record(number))
    del found["x"]
    return msgspec.json.encode(found)


def fail(ground: Ground, count: int) -> None:
    for number in range(count):
        ground.feed_raw(lacking(number), key=b"k%d" % number, partition=number % 4, headers=OWN)
    ground.feed_raw(b"\xff{", key=b"\xfe", partition=1)
    ground.wait_until_done()


def replays(ground: Ground) -> list[Any]:
    found = read_all(ground.bootstrap, ground.topics.input)
    return [each for each in found if "baton-replay-of" in dict(each.headers)]


def mend(ground: Ground) -> None:
    """Version 2 takes records without an x."""
    schema = small_schema()
    fields = [msgspec.structs.replace(field, required=field.name != "x" and field.required) for field in schema.fields]
    assert Field(name="x", type=FieldType.NUMBER) in fields
    ground.register_as(2, msgspec.structs.replace(schema, fields=tuple(fields)))
    ground.notify(2, 2)
    ground.wait_for_state("live", sequence=2)


def test_letters_are_listed_counted_shown_and_exported(ground: Ground, tmp_path: Path) -> None:
    fail(ground, 6)
    listed = answer(ground, "list", ground.model)
    assert [each["reason"] for each in listed].count("missing-field") == 6
    assert [each["at"] for each in listed] == sorted((each["at"] for each in listed), reverse=True)
    assert len(answer(ground, "list", ground.model, "--last", "2")) == 2
    assert len(answer(ground, "list", ground.model, "--reason", "malformed-json")) == 1
    assert {each["place"]["partition"] for each in answer(ground, "list", ground.model, "--partition", "1")} == {1}
    assert answer(ground, "list", ground.model, "--since", "2100-01-01T00:00:00Z") == []
    assert answer(ground, "list", ground.model, "--by", "reason") == {"missing-field": 6, "malformed-json": 1}

    place = next(each["place"] for each in listed if each["reason"] == "missing-field")
    at = (str(place["partition"]), str(place["offset"]))
    assert "record" not in answer(ground, "show", ground.model, *at)
    record = answer(ground, "show", ground.model, *at, "--content")["record"]
    assert "x" not in json.loads(record["value"]["text"])
    assert [header["name"] for header in record["headers"]] == ["h", "null", "correlation-id"]
    code, text, _ = call(ground, "show", ground.model, *at)
    assert (code, "missing-field" in text, "r-0000" in text) == (0, True, False)

    code, _, told = call(ground, "export", ground.model, "--output", str(tmp_path / "letters.jsonl"))
    assert (code, "7 dead letters" in told) == (0, True)
    lines = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    exported = Counter(
        (
            msgspec.convert(line["record"]["key"], Text).content(),
            msgspec.convert(line["record"]["value"], Text).content(),
        )
        for line in lines
    )
    assert exported == Counter((letter.key, letter.value) for letter in ground.letters())
    assert call(ground, "show", ground.model, "0", "9999")[0] == 2


def test_records_go_back_as_they_were_once_and_are_scored_after_what_was_wrong_is_mended(ground: Ground) -> None:
    fail(ground, 8)
    mend(ground)
    why = ("--reason", "missing-field", "--why", "version 2 takes them", "--actor", "ada")
    dry = answer(ground, "replay", ground.model, *why, "--dry-run")
    assert (dry["put_back"], dry["replayed"], replays(ground)) == (False, 8, [])
    done = answer(ground, "replay", ground.model, *why)
    assert (done["put_back"], done["replayed"], done["left"]) == (True, 8, 0)
    assert answer(ground, "list", ground.model, "--by", "reason") == {"missing-field": 8, "malformed-json": 1}
    assert answer(ground, "list", ground.model, "--by", "reason", "--open") == {"malformed-json": 1}
    listed = answer(ground, "list", ground.model)
    assert {each["put_back"] for each in listed if each["reason"] == "missing-field"} == {True}
    (still_open,) = answer(ground, "list", ground.model, "--open")
    assert (still_open["reason"], still_open["put_back"]) == ("malformed-json", False)
    again = answer(ground, "replay", ground.model, *why)
    assert (again["replayed"], again["summary"]["fates"]) == (0, {"already-replayed": {"missing-field": 8}})

    wait_until_settled(ground.bootstrap, ground.topics.input)
    back = replays(ground)
    letters = {(letter.key, letter.value): letter for letter in ground.letters()}
    assert len(back) == 8
    for found in back:
        letter = letters[found.key, found.value]
        assert found.partition == letter.partition
        assert found.headers[:3] == OWN
        assert [name for name, _ in found.headers[3:]] == ["baton-replay-of", "baton-replay-number"]
    ground.produced += 8
    ground.wait_until_done()
    assert len(ground.predictions()) == 8
    assert len(ground.letters()) == 9
    notes = [json.loads(note.value or b"") for note in read_all(ground.bootstrap, REPLAYS)]
    own = [note for note in notes if note["model"] == ground.model]
    assert {(note["actor"], note["why"], note["number"]) for note in own} == {("ada", "version 2 takes them", 1)}
    assert len(own) == 8


def test_a_record_that_fails_again_names_its_replay_and_does_not_go_in_circles(ground: Ground) -> None:
    ground.feed_raw(lacking(0), key=b"k", partition=2, headers=OWN)
    ground.wait_until_done()
    for number in (1, 2, 3):
        assert answer(ground, "replay", ground.model, "--all", "--why", "try again")["replayed"] == 1
        ground.produced += 1
        ground.wait_until_done()
        newest = answer(ground, "list", ground.model, "--last", "1")[0]
        assert newest["replays"] == number
    done = answer(ground, "replay", ground.model, "--all", "--why", "try again", status=1)
    assert done["summary"]["fates"] == {"already-replayed": {"missing-field": 3}, "too-often": {"missing-field": 1}}
    assert "--again" in done["summary"]["examples"][0]
    (last,) = [letter for letter in ground.letters() if dict(letter.headers).get("baton-replay-number") == b"3"]
    assert last.headers[:3] == OWN
    assert [name for name, _ in last.headers].count("baton-replay-of") == 1
    assert answer(ground, "replay", ground.model, "--all", "--again", "--why", "once more")["replayed"] == 1


def test_single_letters_are_put_back_by_their_place(ground: Ground) -> None:
    fail(ground, 4)
    place = ground.letters()[0]
    where = f"{place.partition}:{place.offset}"
    words = ("replay", ground.model, "--offset", where, "--offset", "3:777", "--offset", "9:0", "--why", "asked for")
    dry = answer(ground, *words, "--dry-run", status=1)
    assert (dry["replayed"], dry["left"]) == (1, 2)
    done = answer(ground, *words, status=1)
    assert (done["replayed"], done["summary"]["fates"]["nothing-there"]) == (1, {"-": 2})
    assert "3:777: there is nothing yet" in done["summary"]["examples"][0]
    assert "9:0" in done["summary"]["examples"][1]
    code, told, _ = call(ground, "replay", ground.model, "--offset", "3:777", "--why", "asked for")
    assert (code, "1 were asked for and are not there" in told) == (1, True)
    assert [found.value for found in replays(ground)] == [place.value]
    code, _, told = call(ground, "replay", ground.model, "--why", "nothing named")
    assert (code, "say which dead letters" in told) == (2, True)


def test_a_record_by_reference_is_fetched_and_checked_and_told_where_it_is_gone(ground: Ground) -> None:
    ground.wait_for_state("live")
    ground.set(ground.topics.input, "max.message.bytes", str(4 * INPUT_MAXIMUM_BYTES))
    ground.lift_size_limit()
    large = b"{" + b" " * (2 * INPUT_MAXIMUM_BYTES)
    ground.feed_raw(large, key=b"large", partition=0, headers=OWN)
    ground.wait_until_done()
    (letter,) = ground.letters()
    at = (str(letter.partition), str(letter.offset))
    kept = answer(ground, "show", ground.model, *at, "--content")
    assert (kept["by_reference"], kept["size_bytes"]) == (True, len(large))
    assert "reference" in kept["record"]
    shown = answer(ground, "show", ground.model, *at, "--original")
    assert shown["record"]["value"]["text"].encode() == large
    assert answer(ground, "replay", ground.model, "--all", "--why", "as large as it is")["replayed"] == 1
    wait_until_settled(ground.bootstrap, ground.topics.input)
    assert [(found.key, found.value, found.headers[:3]) for found in replays(ground)] == [(b"large", large, OWN)]

    ground.produced += 1
    ground.wait_until_done()
    for future in ground.admin.delete_records([TopicPartition(ground.topics.input, 0, 2)]).values():
        future.result(20)
    assert "gone from" in answer(ground, "show", ground.model, *at, "--original", status=1)["gone"]
    done = answer(ground, "replay", ground.model, "--all", "--why", "too late", status=1)
    assert done["summary"]["fates"] == {"already-replayed": {"malformed-json": 1}, "gone": {"malformed-json": 1}}


def test_a_rare_reason_is_found_far_behind_and_the_newest_come_first(broker: Broker) -> None:
    stage = Letters(broker.bootstrap, 1_000, rare={3: Reason.CLOCK_OFF, 501: Reason.CLOCK_OFF, 502: Reason.CLOCK_OFF})
    with Session({"bootstrap.servers": broker.bootstrap}, stage.model) as session:
        rare = session.letters(Selection(reasons=frozenset({Reason.CLOCK_OFF})))
        places = [(found.place.partition, found.place.offset) for found in rare.newest(3)]
        assert places == [(0, 251), (1, 250), (1, 1)]
        assert [(found.place.partition, found.place.offset) for found in rare.newest(1)] == [(0, 251)]
        every = session.letters(Selection())
        assert len(list(every.all())) == 1_000
        assert len(every.newest(2_000)) == 1_000
        assert all(found.value is None for found in every.newest(5))
        assert len(list(session.letters(Selection(partitions=frozenset({1}))).all())) == 500


def test_somebody_elses_records_in_the_topic_are_counted_and_left_out(broker: Broker) -> None:
    stage = Letters(broker.bootstrap, 10)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(stage.topics.dead_letters, b"what is this", b"k", 0)
    assert producer.flush(30) == 0
    with Session({"bootstrap.servers": broker.bootstrap}, stage.model) as session:
        letters = session.letters(Selection())
        assert (len(list(letters.all())), letters.strangers) == (10, 1)
        with pytest.raises(ConfigurationError, match="not a dead letter"):
            session.letter(0, 5)


def test_what_is_noted_behind_another_models_open_transaction_is_waited_for(
    broker: Broker, make_topic: MakeTopic
) -> None:
    kafka, topic = {"bootstrap.servers": broker.bootstrap}, make_topic("replays")
    producers = [Producer({**kafka, "transactional.id": f"{topic}-{number}"}) for number in range(2)]
    for producer, key in zip(producers, (b"other/id/0/1", b"mine/id/0/1"), strict=True):
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(topic, b"{}", key)
        assert producer.flush(30) == 0
    producers[1].commit_transaction(30)
    with pytest.raises(Unavailable, match="a transaction stays open"):
        noted(kafka, "mine", topic=topic, within_s=2)
    producers[0].commit_transaction(30)
    assert noted(kafka, "mine", topic=topic) == {b"mine/id/0/1"}
    assert noted(kafka, "min", topic=topic) == set()
