"""Reading models."""

import json

import msgspec

from scoring.api.documents import Models
from scoring.contract.heartbeat import State
from scoring.worker.fetching import Phase
from tests.support.serving import Served


def test_every_model_is_told_with_what_it_is_waiting_for(served: Served) -> None:
    served.phases["other"] = Phase(State.FETCHING, 3, "the registry is away")
    with served.client() as client:
        found = msgspec.json.decode(client.get("/v1/models").content, type=Models).models
        assert client.get("/v1/models/other").json() == json.loads(msgspec.json.encode(found[1]))
    assert [(m.model, m.state, m.version, m.sequence) for m in found] == [
        ("small", "live", "1", 1),
        ("other", "fetching", None, None),
    ]
    assert [field.name for field in found[0].record or ()] == ["id", "at", "x", "color"]
    assert (found[0].threshold, found[1].reason, found[1].pending) == (1.5, "the registry is away", 3)


def test_a_retired_model_is_told_as_such_and_keeps_nobody_waiting(served: Served) -> None:
    served.retire(served.service.live("small"))
    with served.client() as client:
        assert client.get("/v1/models/small").json()["state"] == "retired"
        assert client.get("/readyz").json()["detail"] == "other: waiting"
