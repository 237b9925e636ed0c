"""Nothing is served without a token, and a token allows what its scopes say."""

import re
import sys

import pytest

from scoring.api.openapi import document
from scoring.api.operations import OPERATIONS, Operation
from tests.support.serving import METRICS_TOKEN, Served, records

GUARDED = [operation for operation in OPERATIONS if operation.scopes]


def ids(operation: Operation) -> str:
    return operation.operation_id


def asked(served: Served, operation: Operation, token: str, **headers: str) -> tuple[int, str]:
    """The status and the problem of an operation that is asked for with a token."""
    said = [sys.executable, "-m", "tests.support.said", str(served.folder / "asked"), "[]"]
    served.versions._command = lambda _model: said
    served.explanations._command = lambda: said
    path = re.sub(r"{version}", "1", operation.path.replace("{model}", "small"))
    query = {"key": "k", "topic": "t", "partition": "0", "offset": "0"} if operation.parameters else {}
    with served.client(token, **headers) as client:
        answer = client.request(operation.method, path, params=query, json=records(0) if operation.scores else None)
    problem = answer.json().get("type", "") if answer.status_code >= 400 else ""
    return answer.status_code, problem.removeprefix("urn:baton:problem:")


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_nobody_gets_in_without_a_token_that_is_known(served: Served, operation: Operation) -> None:
    assert asked(served, operation, "") == (401, "no-token")
    assert asked(served, operation, "made-up") == (401, "no-token")


@pytest.mark.parametrize("operation", GUARDED, ids=ids)
def test_a_token_of_another_scope_is_refused(served: Served, operation: Operation) -> None:
    for token, scope in ((served.reader, "read"), (served.scorer, "score")):
        refused = asked(served, operation, token) == (403, "wrong-scope")
        assert refused == (scope not in operation.scopes)


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if not op.scopes], ids=ids)
def test_a_probe_takes_no_token_and_tells_no_details_without(served: Served, operation: Operation) -> None:
    with served.client("") as stranger, served.client() as known:
        told, more = stranger.get(operation.path), known.get(operation.path)
    assert told.status_code == more.status_code
    assert "other" not in told.text
    if operation.name == "ready":
        assert "other: waiting" in more.json()["detail"]


def test_the_metrics_token_reads_the_metrics_and_nothing_else(served: Served) -> None:
    with served.client(METRICS_TOKEN) as client:
        assert "baton_api_info" in client.get("/metrics").text
        assert client.get("/v1/models").status_code == 401


def test_a_stranger_does_not_learn_which_paths_and_models_there_are(served: Served) -> None:
    with served.client("") as client:
        assert {client.get(path).status_code for path in ("/", "/nowhere", "/v1/models/none", "/docs")} == {401}
        assert client.post("/v1/models/none/score", json={}).headers["www-authenticate"] == 'Bearer realm="baton"'


def test_a_request_that_is_refused_takes_no_room(served: Served) -> None:
    with served.client(served.reader) as client:
        client.post("/v1/models/small/score", json=records(0))
    assert (served.service.hand.requests, served.metrics.records["small"]) == (0, 0)


def test_the_description_says_which_scope_each_operation_takes() -> None:
    described = document()["paths"]
    for operation in OPERATIONS:
        told = described[operation.path][operation.method.lower()]
        assert bool(told["security"]) == bool(operation.scopes)
        assert all(f"`{scope}`" in told["description"] for scope in operation.scopes)
