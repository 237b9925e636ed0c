"""Versions come from processes of their own: one at a time a model, each within its deadline; nothing else waits."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from scoring.api import versions as module
from scoring.api.documents import VersionList
from scoring.api.problems import Kind, Problem
from scoring.api.versions import FAILURE_KEPT_S, KEPT_S, Versions
from tests.support.leftovers import started_about
from tests.support.serving import METRICS_TOKEN, Served, records, scores_of, wait_until

LISTED = (
    '[{"version": "1", "standing": "champion", "sequences": [1], "registered_at": "2026-03-01T00:00:00Z", '
    '"manifest_digest": null}]'
)
PATH = "/v1/models/small/versions"
PATIENCE_S = 100  # processes are started, and a busy machine takes long for that
# A registry that hangs: notes that it was asked, waits for a file, and answers.
HELD = """\
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
(folder / f"asked-{time.monotonic_ns()}").touch()
while not (folder / "go on").exists():
    time.sleep(0.005)
sys.stdout.write("[]")
"""


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def telling(folder: Path, *said: str) -> Versions:
    """Versions that come from a process that notes each start of it."""
    command = [sys.executable, "-m", "tests.support.said", str(folder / "asked"), *said]
    return Versions(lambda _model: command, Clock(), PATIENCE_S)


def of(versions: Versions, model: str = "small") -> bytes:
    return asyncio.run(versions.of(model))


def problem_of(versions: Versions) -> Problem:
    with pytest.raises(Problem) as caught:
        of(versions)
    return caught.value


@pytest.fixture
def held(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registry that hangs until it is let go; the folder in which it says that it was asked."""
    folder = served.folder / "held"
    (folder / "modules").mkdir(parents=True)
    (folder / "modules" / "held_versions.py").write_text(HELD)
    monkeypatch.setenv("PYTHONPATH", str(folder / "modules"))
    served.versions._command = lambda _model: [sys.executable, "-m", "held_versions", str(folder)]
    served.versions._within_s = PATIENCE_S
    yield folder
    (folder / "go on").touch()


def asked(held: Path) -> int:
    """How often the registry was asked."""
    return len([*held.glob("asked-*")])


def ask(served: Served, path: str = PATH) -> httpx.Response:
    with served.client() as client:
        return client.get(path, timeout=PATIENCE_S)


def test_versions_are_told_as_the_command_tells_them(served: Served) -> None:
    served.versions._command = telling(served.folder, LISTED)._command
    with served.client() as client:
        found = msgspec.json.decode(client.get(PATH).content, type=VersionList)
        assert [version.standing for version in found.versions] == ["champion"]
        assert client.get("/v1/models/none/versions").json()["type"] == "urn:baton:problem:unknown-model"


def test_what_was_told_is_told_again_for_a_while(tmp_path: Path) -> None:
    versions = telling(tmp_path, LISTED)
    first = of(versions)
    assert of(versions) == first
    assert (tmp_path / "asked").read_text() == "x"
    versions._clock_s.now_s = KEPT_S  # type: ignore[attr-defined]
    assert of(versions) == first
    assert (tmp_path / "asked").read_text() == "xx"


def test_a_failure_is_told_again_for_a_shorter_while(tmp_path: Path) -> None:
    versions = telling(tmp_path, "", "baton: BATON_LEDGER_URL is not set")
    for _ in range(3):
        found = problem_of(versions)
        assert (found.kind, found.detail) == (Kind.UNAVAILABLE, "BATON_LEDGER_URL is not set")
    assert (tmp_path / "asked").read_text() == "x"
    versions._clock_s.now_s = FAILURE_KEPT_S  # type: ignore[attr-defined]
    versions._command = telling(tmp_path, LISTED)._command
    assert msgspec.json.decode(of(versions)) == msgspec.json.decode(LISTED)


def test_what_nobody_can_read_says_which_command_tells_more(tmp_path: Path) -> None:
    assert "`baton versions small` tells more" in problem_of(telling(tmp_path, "not JSON")).detail
    found = problem_of(Versions(lambda _model: ["/none/of/these", "-m"]))
    assert (found.kind, "No such file" in found.detail) == (Kind.UNAVAILABLE, True)


def test_a_registry_that_hangs_is_asked_once_and_holds_up_neither_metrics_nor_scores(
    served: Served, held: Path
) -> None:
    """More requests than the event loop has threads for all and sundry."""
    with ThreadPoolExecutor(40) as threads:
        waiting = [threads.submit(ask, served) for _ in range(40)]
        wait_until(lambda: served.versions._waiting == 40, PATIENCE_S)
        wait_until(lambda: asked(held) >= 1, PATIENCE_S)
        try:
            with served.client(METRICS_TOKEN) as client:
                assert client.get("/metrics").status_code == 200
            with served.client() as client:
                assert scores_of(client.post("/v1/models/small/score", json=records(0)))
            assert not any(future.done() for future in waiting)
        finally:
            (held / "go on").touch()
        assert {future.result().status_code for future in waiting} == {200}
    assert asked(held) == 1


def test_a_model_that_is_not_asked_about_yet_does_not_wait_for_one_that_is(served: Served, held: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, served)
        wait_until(lambda: asked(held) == 1, PATIENCE_S)
        served.versions._command = telling(served.folder, LISTED)._command
        assert ask(served, "/v1/models/other/versions").status_code == 200
        assert not waiting.done()
        (held / "go on").touch()
        assert waiting.result().status_code == 200


def test_so_many_wait_and_one_more_is_told_to_come_back(
    served: Served, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(ask, served) for _ in range(3)]
        wait_until(lambda: served.versions._waiting == 3, PATIENCE_S)
        answer = ask(served)
        assert (answer.status_code, answer.json()["limit"]) == (429, "versions")
        assert answer.headers["retry-after"] == "1"
        wait_until(lambda: asked(held) == 1, PATIENCE_S)
        (held / "go on").touch()
        assert {future.result().status_code for future in waiting} == {200}
    assert served.versions._waiting == 0


def test_what_takes_too_long_is_ended_and_says_what_to_look_at(served: Served, held: Path) -> None:
    served.versions._within_s = 2.0
    answer = ask(served)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:baton:problem:unavailable")
    assert "did not answer within 2 s" in answer.json()["detail"]
    assert "BATON_LEDGER_URL and BATON_REGISTRY_URI" in answer.json()["detail"]
    wait_until(lambda: not started_about(str(held)))
    wait_until(lambda: not served.versions._under_way)
    assert ask(served).json()["detail"] == answer.json()["detail"]  # and nobody is asked


def test_a_process_that_stops_waits_for_no_registry(served: Served, held: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, served)
        wait_until(lambda: asked(held) == 1, PATIENCE_S)
        closing = threading.Thread(target=served.versions.close)
        closing.start()
        assert waiting.result().status_code == 503
        closing.join(60)
        assert not closing.is_alive()
