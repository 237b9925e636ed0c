"""Reading models and their versions."""

import json
import sys
from pathlib import Path

import msgspec
import pytest

from scoring.api.documents import Models, VersionList
from scoring.api.problems import Kind, Problem
from scoring.api.versions import KEPT_S, Versions
from scoring.contract.heartbeat import State
from scoring.worker.fetching import Phase
from tests.support.serving import Served

LISTED = (
    '[{"version": "1", "standing": "champion", "sequences": [1], "registered_at": "2026-03-01T00:00:00Z", '
    '"manifest_digest": null}]'
)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def telling(folder: Path, *said: str) -> Versions:
    """Versions that come from a process that notes each start of it."""
    command = [sys.executable, "-m", "tests.support.said", str(folder / "asked"), *said]
    return Versions(lambda _model: command, Clock())


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


def test_versions_are_told_as_the_command_tells_them(served: Served) -> None:
    served.versions._command = telling(served.folder, LISTED)._command
    with served.client() as client:
        found = msgspec.json.decode(client.get("/v1/models/small/versions").content, type=VersionList)
        assert [version.standing for version in found.versions] == ["champion"]
        assert client.get("/v1/models/none/versions").json()["type"] == "urn:baton:problem:unknown-model"


def test_what_was_told_is_told_again_for_a_while(tmp_path: Path) -> None:
    versions = telling(tmp_path, LISTED)
    first = versions.of("small")
    assert versions.of("small") == first
    assert (tmp_path / "asked").read_text() == "x"
    versions._clock_s.now_s = KEPT_S  # type: ignore[attr-defined]
    assert versions.of("small") == first
    assert (tmp_path / "asked").read_text() == "xx"


def test_a_command_that_fails_is_told_by_its_last_word(tmp_path: Path) -> None:
    failing = telling(tmp_path, "", "baton: BATON_LEDGER_URL is not set")
    with pytest.raises(Problem) as caught:
        failing.of("small")
    assert (caught.value.kind, caught.value.detail) == (Kind.UNAVAILABLE, "BATON_LEDGER_URL is not set")
    with pytest.raises(Problem, match="FileNotFoundError"):
        Versions(lambda _model: ["/none/of/these", "-m"]).of("small")
