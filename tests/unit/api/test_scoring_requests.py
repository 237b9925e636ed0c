"""Scoring on request: what comes back, and what becomes of requests that cannot be answered as they asked."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from scoring.api.documents import ProblemDocument, Scores, Unscorable
from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Column, Columns, Floats
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, LookupField, TableLookup
from scoring.contract.lookup import OnMiss
from scoring.contract.prediction import Prediction
from scoring.contract.records import ORDINARY, Answer, RecordRules
from scoring.scorer.bundle import open_bundle
from tests.support.bundles import make_bundle, score_of, small_record, small_schema
from tests.support.classes import CLASSES, bundle_of_classes, probabilities
from tests.support.serving import NoLookups, Served, active_of, records, scores_of, wait_until

PATH = "/v1/models/small/score"


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The document of a problem that was expected."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document: dict[str, Any] = answer.json()
    kind: type[Unscorable | ProblemDocument] = Unscorable if status == 422 else ProblemDocument
    read = msgspec.json.decode(answer.content, type=kind)
    assert (read.type, read.status) == (f"urn:baton:problem:{code}", status)
    return document


def test_records_get_the_scores_that_the_stream_would_give_them_and_the_version_that_did(served: Served) -> None:
    with served.client() as client:
        answer = client.post(PATH, json=records(0, 5, 9))
    assert scores_of(answer) == [score_of(1, number) for number in (0, 5, 9)]
    read = msgspec.json.decode(answer.content, type=Scores)
    (active,) = [served.service.live("small")]
    assert (read.model, read.version, read.sequence, read.manifest_digest) == ("small", "1", 1, active.digest)
    assert answer.headers["cache-control"] == "no-store"


def test_an_answer_says_of_a_record_what_its_prediction_would(served: Served) -> None:
    with served.client() as client:
        found = client.post(PATH, json=records(9)).json()
    (told,) = found.pop("predictions")
    place = {"topic": "t", "topic_id": "i", "partition": 0, "offset": 0}
    prediction = msgspec.convert({**found, **told, "input": place}, Prediction)
    assert prediction.decision is True
    assert prediction.event_time == small_record(9)["at"]
    assert prediction.pass_through == {"id": "r-00000009", "color": "blue"}


def test_records_may_come_a_line_each(served: Served) -> None:
    lines = b"\n".join(map(msgspec.json.encode, records(0, 9)["records"]))
    with served.client() as client:
        answer = client.post(PATH, content=lines, headers={"Content-Type": "application/x-ndjson; charset=utf-8"})
    assert scores_of(answer) == [score_of(1, 0), score_of(1, 9)]


def test_a_record_that_cannot_be_scored_is_told_with_its_field_and_reason_and_the_others_are_scored(
    served: Served,
) -> None:
    body = records(0, 1, 2, 3)
    body["records"][1]["x"] = "many"
    del body["records"][2]["at"]
    with served.client() as client:
        document = problem(client.post(PATH, json=body), 422, "unscorable")
    assert [(f["index"], f["reason"], f["field"]) for f in document["failures"]] == [
        (1, "wrong-type", "x"),
        (2, "missing-field", "at"),
    ]
    assert [p and p["score"] for p in document["predictions"]] == [score_of(1, 0), None, None, score_of(1, 3)]
    assert (document["version"], document["sequence"]) == ("1", 1)
    assert "many" not in json.dumps(document)  # no record's content


def test_what_no_json_reader_takes_is_judged_record_by_record(served: Served) -> None:
    good = msgspec.json.encode(small_record(0))
    body = b'{"records":[%b,{"x": NaN},%b]}' % (good, good.replace(b'"x":0.0', b'"x":1e999'))
    with served.client() as client:
        answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    failures = problem(answer, 422, "unscorable")["failures"]
    assert [failure["reason"] for failure in failures] == ["malformed-json", "non-finite"]


def test_event_times_are_held_against_the_moment_of_the_request(tmp_path: Path) -> None:
    schema = msgspec.structs.replace(small_schema(), records=RecordRules(ahead_s=60.0, behind_s=3_600.0))
    make_bundle(tmp_path / "bundle", 1, schema=schema)
    with Served(tmp_path) as served, served.client() as client:
        served.promote(1, open_bundle(tmp_path / "bundle", None))
        failures = problem(client.post(PATH, json=records(0)), 422, "unscorable")["failures"]
    assert [(failure["reason"], failure["field"]) for failure in failures] == [(Reason.CLOCK_OFF, "at")]


def test_a_record_that_breaks_a_rule_is_told_with_the_field_that_does(tmp_path: Path) -> None:
    rules = msgspec.structs.replace(ORDINARY, unknown_fields=Answer.DEAD_LETTER, maximum_text_characters=100)
    make_bundle(tmp_path / "bundle", 1, schema=msgspec.structs.replace(small_schema(), records=rules))
    good = msgspec.json.encode(small_record(0) | {"color": "red"})
    bad = [
        good.replace(b"{", b'{"more":1,'),
        good.replace(b"{", b'{"x":1,'),
        good.replace(b"red", b"\\u0000"),
        good.replace(b"red", b"r" * 101),
    ]
    with Served(tmp_path) as served, served.client() as client:
        served.promote(1, open_bundle(tmp_path / "bundle", None))
        body = b'{"records":[%b]}' % b",".join(bad)
        answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
        failures = problem(answer, 422, "unscorable")["failures"]
    assert [(failure["reason"], failure["field"]) for failure in failures] == [
        ("unknown-field", "more"),
        ("repeated-key", "x"),
        ("null-character", "color"),
        ("too-large", "color"),
    ]


def test_a_lookup_that_misses_is_told_by_its_name(tmp_path: Path) -> None:
    class Missing:
        """A source that has no row."""

        def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:  # noqa: ARG002
            return {"weather.wind": np.full(rows, np.nan), "weather.": np.zeros(rows)}

    strict = TableLookup(
        name="weather",
        connection="warehouse",
        table="weather",
        match=(("station", "color"),),
        valid_at="observed_at",
        fields=(LookupField(name="wind"),),
        on_miss=OnMiss.DEAD_LETTER,
    )
    make_bundle(tmp_path / "bundle", 1, schema=small_schema((strict,)))
    with Served(tmp_path, lookups=Missing()) as served, served.client() as client:
        served.promote(1, open_bundle(tmp_path / "bundle", None))
        failures = problem(client.post(PATH, json=records(0)), 422, "unscorable")["failures"]
    assert [(failure["reason"], failure["field"]) for failure in failures] == [("lookup-miss", "weather")]


def test_a_model_of_several_classes_tells_the_label_and_every_probability(tmp_path: Path) -> None:
    with Served(tmp_path) as served, served.client() as client:
        served.bring(active_of(bundle_of_classes(tmp_path / "bundle")))
        (told,) = client.post(PATH, json=records(0)).json()["predictions"]
    assert told["probabilities"] == dict(zip(CLASSES, probabilities(0), strict=True))
    assert (told["label"], told["score"], told["decision"]) == ("on time", max(probabilities(0)), None)


def test_a_record_that_the_model_fails_on_fails_alone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = served.service.live("small").scorer
    score = scorer.score

    def fails_on_one(columns: Columns, rows: int) -> Floats:
        if "r-00000005" in list(columns["id"]):
            raise RuntimeError("secret content")
        return score(columns, rows)

    monkeypatch.setattr(scorer, "score", fails_on_one)
    with served.client() as client:
        document = problem(client.post(PATH, json=records(*range(8))), 422, "unscorable")
    assert [(f["index"], f["detail"]) for f in document["failures"]] == [(5, "the model failed on it: RuntimeError")]


def test_a_lookup_that_cannot_be_asked_now_is_no_records_fault(tmp_path: Path) -> None:
    class Away(NoLookups):
        def resolve(self, *_: object) -> dict[str, Column]:
            raise Unavailable("lookup 'weather': the database is away")

    with Served(tmp_path, lookups=Away()) as served, served.client() as client:
        served.promote()
        answer = client.post(PATH, json=records(0))
        assert problem(answer, 503, "unavailable")["detail"] == "lookup 'weather': the database is away"
        assert answer.headers["retry-after"] == "1"
        assert (served.metrics.records["small"], served.service.hand.records) == (0, 0)


# --- which version ------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_served_here_is_unknown(served: Served) -> None:
    with served.client() as client:
        problem(client.post("/v1/models/none/score", json=records(0)), 404, "unknown-model")


def test_before_a_first_version_is_live_the_answer_says_so(served: Served) -> None:
    with served.client() as client:
        answer = client.post("/v1/models/other/score", json=records(0))
    assert "other is waiting" in problem(answer, 503, "not-ready")["detail"]
    assert answer.headers["retry-after"] == "1"


def test_a_model_that_was_retired_is_gone_until_a_version_is_promoted(served: Served) -> None:
    with served.client() as client:
        served.retire(served.service.live("small"))
        problem(client.post(PATH, json=records(0)), 410, "retired")
        served.promote(3)
        assert scores_of(client.post(PATH, json=records(0))) == [score_of(3, 0)]


def test_a_promoted_version_scores_from_one_request_to_the_next(served: Served) -> None:
    with served.client() as client:
        for version in (2, 3, 4):
            served.promote(version)
            answer = client.post(PATH, json=records(0))
            assert scores_of(answer) == [score_of(version, 0)]
            assert (answer.json()["version"], answer.json()["sequence"]) == (str(version), version)


# --- requests that nobody can answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"", "application/json", 400, "malformed-request"),
        (b"{", "application/json", 400, "malformed-request"),
        (b'{"records": []}', "application/json", 400, "malformed-request"),
        (b'{"records": [{}]}', "text/plain", 415, "wrong-media-type"),
        (b'{"records": [{}]}', "", 415, "wrong-media-type"),
        (b'{"records": [' + b"{}," * 20 + b"{}]}", "application/json", 413, "too-large"),
        (b'{"records": [{"id": "' + b"x" * 5_000 + b'"}]}', "application/json", 413, "too-large"),
    ],
)
def test_a_request_that_cannot_be_read_is_told_why(
    tmp_path: Path, body: bytes, media_type: str, status: int, code: str
) -> None:
    with Served(tmp_path, api_request_records=20, api_request_bytes=4_096) as served, served.client() as client:
        served.promote()
        problem(client.post(PATH, content=body, headers={"Content-Type": media_type}), status, code)
        hand = served.service.hand
        wait_until(lambda: (hand.requests, hand.size_bytes) == (0, 0))


def test_a_body_without_a_length_is_read_no_further_than_it_may_be(tmp_path: Path) -> None:
    def endless() -> Any:
        while True:
            yield b"x" * 65_536

    with Served(tmp_path, api_request_bytes=4_096) as served, served.client() as client:
        served.promote()
        with suppress(httpx.ReadError, httpx.WriteError):  # it may be closed before the client looks for an answer
            problem(client.post(PATH, content=endless()), 413, "too-large")
        assert scores_of(client.post(PATH, json=records(0))) == [score_of(1, 0)]


def test_a_packed_body_is_not_unpacked(served: Served) -> None:
    with served.client() as client:
        problem(client.post(PATH, json=records(0), headers={"Content-Encoding": "gzip"}), 415, "wrong-media-type")


def test_an_answer_repeats_what_names_the_request(served: Served) -> None:
    named = {"X-Request-Id": "r-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with served.client(**named) as client:
        for answer in (client.post(PATH, json=records(0)), client.post(PATH, json={}), client.get("/v1/models")):
            assert answer.headers["x-request-id"] == "r-1"
            assert answer.headers["traceparent"] == named["traceparent"]


def test_what_nobody_expected_is_told_as_such_and_without_its_words(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("secret content")

    monkeypatch.setattr(served.service, "live", failing)
    with served.client() as client:
        for answer in (client.post(PATH, json=records(0)), client.get("/v2/models/small")):
            assert "secret" not in json.dumps(problem(answer, 500, "internal"))
        monkeypatch.undo()
        assert scores_of(client.post(PATH, json=records(0))) == [score_of(1, 0)]
