"""What a real worker scored is explained over HTTP: the score again, bit for bit, and what is wrong with the others."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from local.kafka.broker import Broker
from scoring.explain.explanation import Explanation, Verdict
from tests.support.api_ground import Api, ApiGround
from tests.support.arena import read_all
from tests.support.command_line import baton
from tests.support.explained_stream import ExplainedStream
from tests.support.ground import record

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
PATIENCE_S = 300
CHOSEN = 6
SECRET = "pass-of-the-ledger"


class Stream(ExplainedStream, ApiGround):
    """A stream with a ledger, and a process of the API beside its worker."""


@pytest.fixture
def stream(broker: Broker, tmp_path: Path) -> Iterator[Stream]:
    made = Stream(broker.bootstrap, tmp_path)
    made.variables["BATON_API_EXPLAIN_DEADLINE_MS"] = str(1_000 * PATIENCE_S)  # a busy machine is no reason to fail
    yield made
    made.close()


def ask(api: Api, topic: str, partition: int, offset: int) -> httpx.Response:
    model = api.path.split("/")[3]
    place: dict[str, str | int] = {"topic": topic, "partition": partition, "offset": offset}
    with api.client() as client:
        return client.get(f"/v1/predictions/{model}/explanation", params=place, timeout=PATIENCE_S)


def test_records_are_explained_with_the_score_that_the_stream_gave_them(stream: Stream) -> None:
    stream.decide(1)
    stream.start()
    stream.feed(40)
    stream.feed_raw(record(1, x="seven"), partition=0)
    stream.wait_until_done()
    stream.decide(2)
    stream.feed(40)
    stream.wait_until_done()
    api = stream.serve()
    topics = stream.topics
    found = sorted(read_all(stream.bootstrap, topics.predictions), key=lambda each: (each.partition, each.offset))
    assert len(found) == 80
    versions = set()
    for each in random.Random(3).sample(found, CHOSEN):
        explanation = msgspec.json.decode(
            ask(api, topics.predictions, each.partition, each.offset).content, type=Explanation
        )
        prediction = json.loads(each.value or b"")
        assert explanation.prediction is not None
        assert explanation.rescored is not None
        assert (explanation.rescored.verdict, explanation.sound) == (Verdict.IDENTICAL, True), explanation.rescored
        assert explanation.rescored.score == explanation.prediction.score == prediction["score"]
        versions.add(explanation.prediction.version)
    assert versions == {"1", "2"}
    it_is_what_the_command_tells(stream, api)
    the_others(stream, api)


def it_is_what_the_command_tells(stream: Stream, api: Api) -> None:
    place = (stream.topics.input, "0", "3")
    status, output, _ = baton(stream.environment(0), "explain", *place, "--json")
    assert (status, json.loads(output)) == (0, ask(api, place[0], 0, 3).json())


def the_others(stream: Stream, api: Api) -> None:
    """A dead letter, nothing, something that is no outcome, and topics that are none of the model's."""
    topics = stream.topics
    letter = ask(api, topics.dead_letters, 0, 0).json()["letter"]
    assert (letter["told"]["reason"], letter["field"]) == ("wrong-type", "x")
    assert code(ask(api, topics.input, 0, 999)) == (404, "not-found")
    assert code(ask(api, "baton.notices", 0, 0)) == (404, "not-found")
    stream.send(topics.predictions, b"no prediction", b"k", None)
    at = next(each for each in read_all(stream.bootstrap, topics.predictions) if each.value == b"no prediction")
    answer = ask(api, topics.predictions, at.partition, at.offset)
    assert (code(answer), "something else" in answer.json()["detail"]) == ((409, "no-outcome"), True)


def code(answer: httpx.Response) -> tuple[int, str]:
    told: dict[str, Any] = answer.json()
    return answer.status_code, told["type"].removeprefix("urn:baton:problem:")


def test_a_record_without_an_outcome_is_told_as_such_and_nothing_that_is_secret_ever(stream: Stream) -> None:
    stream.decide(1)
    stream.feed(4)
    stream.variables["BATON_LEDGER_URL"] = f"postgresql+psycopg://baton:{SECRET}@127.0.0.1:1/ledger"
    api = stream.serve()
    answer = ask(api, stream.topics.input, 0, 0)  # nobody has scored it
    assert code(answer) == (409, "no-outcome")
    assert "no outcome yet" in answer.json()["detail"]
    answer = ask(api, "elsewhere", 0, 0)  # only the ledger knows whether that is one of the model's
    assert code(answer) == (503, "unavailable")
    said = answer.text + json.dumps([*answer.headers.items()])
    assert SECRET not in said
