"""The description says what there is: every operation, every status, and examples that are what they say."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from scoring.api import examples
from scoring.api.documents import ANSWERS, REQUESTS, ProblemDocument, Unscorable
from scoring.api.inference import Inference
from scoring.api.metrics import METRICS
from scoring.api.openapi import document
from scoring.api.operations import OPERATIONS
from scoring.api.problems import Kind
from tests.support.serving import Served

PROJECT = Path(__file__).parents[3]


def test_every_operation_has_a_path_of_its_own_and_an_id() -> None:
    described = document()["paths"]
    found = {(path, method) for path, methods in described.items() for method in methods}
    assert found == {(operation.path, operation.method.lower()) for operation in OPERATIONS}
    assert len(found) == len(OPERATIONS) == len({operation.operation_id for operation in OPERATIONS})


def test_the_api_describes_itself(served: Served) -> None:
    with served.client() as client:
        assert client.get("/openapi.json").json() == json.loads(json.dumps(document()))


def test_every_example_of_an_answer_is_one() -> None:
    for name, kind in ANSWERS.items():
        msgspec.convert(examples.ANSWERS[name], kind)
    msgspec.convert(examples.ANSWERS["Unscorable"], Unscorable)


def test_every_example_of_a_request_is_one() -> None:
    for name, kind in REQUESTS.items():
        msgspec.convert(examples.REQUESTS[name], kind)
        if name != "score":
            msgspec.json.decode(msgspec.json.encode(examples.REQUESTS[name]), type=Inference)


def test_the_example_of_a_request_is_answered(served: Served) -> None:
    with served.client() as client:
        for path, name in (("/v1/models/small/score", "score"), ("/v2/models/small/infer", "infer")):
            assert client.post(path, json=examples.REQUESTS[name]).status_code == 200


def test_every_problem_stands_in_the_description_with_its_example() -> None:
    told = {}
    for methods in document()["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for code, example in (
                    response["content"].get("application/problem+json", {}).get("examples", {}).items()
                ):
                    told[code] = int(status)
                    kind = Unscorable if code == "unscorable" else ProblemDocument
                    msgspec.convert(example["value"], kind)
    beyond = {Kind.WRONG_METHOD}  # no operation is asked for by a method that it has not
    assert told == {kind.code: int(kind.status) for kind in Kind if kind not in beyond}


def test_the_metrics_page_has_every_metric() -> None:
    text = (PROJECT / "docs/reference/metrics.md").read_text()
    for metric in METRICS:
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{name}` | {metric.kind} | {labels} | {metric.meaning} |" in text, name


def test_every_metric_has_a_value(served: Served) -> None:
    with served.client() as client:
        client.post("/v1/models/small/score", json={"records": [{}]})
        client.get("/nowhere")
        text = client.get("/metrics").text
    told = set(re.findall(r"^# TYPE (\w+?)(?:_total)? ", text, re.MULTILINE))
    beyond = {"baton_api_cache_bundles", "baton_api_cache_bytes", "baton_api_cache_free_bytes"}  # there is no cache
    assert {metric.name for metric in METRICS} - told == beyond


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.yaml", "/v1", "/v2/", "/v1/models/"])
def test_there_is_nothing_else(served: Served, path: str) -> None:
    with served.client() as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:baton:problem:not-found")
