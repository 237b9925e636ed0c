"""Reading what the sink keeps: the latest of a key, its history page by page, what became of a record."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from scoring.api import prediction_routes
from scoring.api.documents import History, KeptPrediction, Lineage
from scoring.database.connection import Database
from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS, open_database
from tests.support.predictions import INPUT, MOMENT, lettered, moved, predicted, store
from tests.support.serving import Served

PATH = "/v1/predictions/small"
Query = dict[str, str | int]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path}/predictions.sqlite")
    migrate(made, MIGRATIONS)
    yield made
    made.engine.dispose()


@pytest.fixture
def client(tmp_path: Path, database: Database) -> Iterator[httpx.Client]:
    store(database, *(predicted(number, later_s=number, score=number / 10) for number in range(10)))
    store(database, lettered(0, origin=moved(INPUT, offset=77)))
    with Served(tmp_path, predictions_url=str(database.engine.url)) as served, served.client() as made:
        yield made


def test_the_latest_prediction_of_a_key_is_told_as_it_stands_in_its_topic(client: httpx.Client) -> None:
    found = msgspec.json.decode(client.get(f"{PATH}/latest?key=a").content, type=KeptPrediction)
    assert (found.key, found.place.offset, found.prediction.score) == ("a", 9, 0.9)
    assert found.prediction.input == moved(INPUT, offset=9)


def test_a_prediction_is_told_as_it_is_written_and_without_what_it_does_not_have(
    client: httpx.Client, database: Database
) -> None:
    document = {**msgspec.json.decode(predicted(10, later_s=10).value or b""), "pass_through": {"number": 1545}}
    del document["label"], document["probabilities"]
    store(database, msgspec.structs.replace(predicted(10), value=msgspec.json.encode(document)))
    told = client.get(f"{PATH}/latest?key=a").text
    assert '"pass_through":{"number":1545}' in told
    assert "label" not in told
    assert "probabilities" not in told


@pytest.mark.parametrize("path", [f"{PATH}/latest?key=b", "/v1/predictions/other/latest?key=a"])
def test_a_key_without_a_prediction_is_not_found(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:baton:problem:not-found")


def test_a_history_is_told_page_by_page_newest_first(client: httpx.Client) -> None:
    scores, cursor = list[float](), ""
    for _ in range(4):
        query: Query = {"key": "a", "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = msgspec.json.decode(client.get(f"{PATH}/history", params=query).content, type=History)
        scores += [found.prediction.score for found in page.predictions]
        cursor = page.cursor or ""
    assert scores == [number / 10 for number in reversed(range(10))]
    assert not cursor
    assert client.get(f"{PATH}/history?key=b").json() == {"predictions": [], "cursor": None}


def test_a_record_leads_to_its_prediction_or_to_its_dead_letter_with_the_reason(client: httpx.Client) -> None:
    place: Query = {"topic": INPUT.topic, "partition": 0, "offset": 4}
    found = msgspec.json.decode(client.get(f"{PATH}/lineage", params=place).content, type=Lineage)
    assert [(each.prediction.score, each.prediction.scored_at > MOMENT) for each in found.predictions] == [(0.4, True)]
    place = {"topic": INPUT.topic_id, "partition": 0, "offset": 77}
    refused = msgspec.json.decode(client.get(f"{PATH}/lineage", params=place).content, type=Lineage)
    assert not refused.predictions
    assert [(each.reason, each.detail) for each in refused.dead_letters] == [("wrong-type", "why")]
    other = client.get(f"{PATH}/lineage", params={**place, "offset": 78})
    assert (other.status_code, other.json()["type"]) == (404, "urn:baton:problem:not-found")
    assert client.get("/v1/predictions/other/lineage", params=place).status_code == 404


def test_one_question_more_than_may_wait_is_told_to_come_back(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_routes, "WAITING", 0)
    answer = client.get(f"{PATH}/latest?key=a")
    assert (answer.status_code, answer.json()["limit"]) == (429, "questions")
    assert "BATON" not in answer.json()["detail"]  # no setting allows more
    monkeypatch.undo()
    assert client.get(f"{PATH}/latest?key=a").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "latest",
        "history",
        "history?key=a&limit=0",
        "history?key=a&limit=1001",
        "history?key=a&limit=many",
        "history?key=a&cursor=no",
        "lineage?topic=t&partition=0",
        "lineage?topic=t&partition=-1&offset=0",
        "lineage?topic=t&partition=0&offset=9223372036854775808",
    ],
)
def test_a_question_that_cannot_be_asked_is_malformed(client: httpx.Client, query: str) -> None:
    answer = client.get(f"{PATH}/{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:baton:problem:malformed-request")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, "BATON_PREDICTIONS_URL is not set"),
        ("sqlite:////none/of/these", "baton predictions migrate"),
        ("nonsense", "predictions database"),
    ],
)
def test_without_a_database_the_answer_says_what_is_missing(tmp_path: Path, url: str | None, words: str) -> None:
    with Served(tmp_path, predictions_url=url) as served, served.client() as client:
        answer = client.get(f"{PATH}/latest?key=a")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:baton:problem:unavailable")
    assert words in answer.json()["detail"]
