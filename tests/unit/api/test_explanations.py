"""Explanations come from processes of their own: so many at a time, so many that wait, each within its deadline."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from scoring.api import explanations
from scoring.api.examples import ANSWERS
from scoring.explain.answering import DONE, UNEXPLAINED, Because, Unexplained, explain_command, read_answer
from scoring.explain.explanation import Explanation
from tests.support.leftovers import started_about
from tests.support.serving import Served, records, scores_of, wait_until

PATH = "/v1/predictions/small/explanation"
PLACE: dict[str, str | int] = {"topic": "small.input", "partition": 0, "offset": 7}
PATIENCE_S = 100  # processes are started, and a busy machine takes long for that
# Says what it was asked, waits for a file, and answers; both files stand in the folder that it is told.
HELD = """\
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
(folder / f"asked-{time.monotonic_ns()}").write_bytes(sys.stdin.buffer.read())
while not (folder / "go on").exists():
    time.sleep(0.005)
sys.stdout.write('{"explained": true}')
"""


@pytest.fixture
def held(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Explanations that wait until they are let go; the folder in which they say that they were asked."""
    folder = served.folder / "held"
    (folder / "modules").mkdir(parents=True)
    (folder / "modules" / "held_explanation.py").write_text(HELD)
    monkeypatch.setenv("PYTHONPATH", str(folder / "modules"))
    served.explanations._command = lambda: [sys.executable, "-m", "held_explanation", str(folder)]
    yield folder
    (folder / "go on").touch()


def says(served: Served, output: str, status: int = 0) -> None:
    """Let the process that explains say this and end."""
    error = [str(status)] if status else []
    asked = str(served.folder / "asked")
    served.explanations._command = lambda: [sys.executable, "-m", "tests.support.said", asked, output, *error]


def ask(served: Served, path: str = PATH, **headers: str) -> httpx.Response:
    with served.client(**headers) as client:
        return client.get(path, params=PLACE, timeout=PATIENCE_S)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:baton:problem:")


def test_what_the_process_says_is_the_answer(served: Served) -> None:
    says(served, msgspec.json.encode(ANSWERS["Explanation"]).decode())
    answer = ask(served)
    assert (answer.status_code, answer.json()) == (200, ANSWERS["Explanation"])
    assert msgspec.json.decode(answer.content, type=Explanation).sound


def test_the_process_is_asked_for_the_place_on_its_standard_input(served: Served, held: Path) -> None:
    (held / "go on").touch()
    assert ask(served).json() == {"explained": True}
    (asked,) = held.glob("asked-*")
    assert msgspec.json.decode(asked.read_bytes()) == {**PLACE, "model": "small", "topic_id": None}


@pytest.mark.parametrize(
    ("because", "status", "problem"),
    [("nothing-there", 404, "not-found"), ("no-outcome", 409, "no-outcome"), ("unavailable", 503, "unavailable")],
)
def test_why_there_is_no_explanation_is_told(served: Served, because: str, status: int, problem: str) -> None:
    said = Unexplained(because=Because(because), detail="start a worker")
    says(served, msgspec.json.encode(said).decode(), UNEXPLAINED)
    answer = ask(served)
    assert (code(answer), answer.json()["detail"]) == ((status, problem), "start a worker")
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize(("output", "status"), [("", 1), ("some noise", 70), ("[]", UNEXPLAINED)])
def test_a_process_that_ends_without_a_reason_is_told_by_its_status(output: str, status: int) -> None:
    said = read_answer(status, output.encode())
    assert isinstance(said, Unexplained)
    assert (said.because, f"status {status}" in said.detail) == (Because.UNAVAILABLE, True)
    assert read_answer(DONE, b"{}") == b"{}"


def test_what_a_setting_lacks_is_told_by_the_process_itself() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    asked = msgspec.json.encode({**PLACE, "model": "small"})
    done = subprocess.run(explain_command(), input=asked, capture_output=True, env=environment, check=False)
    said = read_answer(done.returncode, done.stdout)
    assert isinstance(said, Unexplained)
    assert (said.because, "BATON_KAFKA_BOOTSTRAP" in said.detail) == (Because.UNAVAILABLE, True)


def test_what_takes_too_long_is_ended_at_its_deadline(served: Served, held: Path) -> None:
    answer = ask(served, **{"X-Request-Deadline-Ms": "1500"})
    assert code(answer) == (504, "deadline-passed")
    wait_until(lambda: not started_about(str(held)))
    (held / "go on").touch()
    assert ask(served).status_code == 200


def test_so_many_are_made_at_a_time_so_many_wait_and_one_more_is_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "held"
    (folder / "modules").mkdir(parents=True)
    (folder / "modules" / "held_explanation.py").write_text(HELD)
    monkeypatch.setenv("PYTHONPATH", str(folder / "modules"))
    monkeypatch.setattr(explanations, "WAITING", 2)
    with Served(tmp_path, api_explanations=1) as served, ThreadPoolExecutor(3) as threads:
        served.promote()
        served.explanations._command = lambda: [sys.executable, "-m", "held_explanation", str(folder)]
        waiting = [threads.submit(ask, served) for _ in range(3)]
        wait_until(lambda: served.explanations._asked == 3)
        wait_until(lambda: len([*folder.glob("asked-*")]) == 1, PATIENCE_S)
        answer = ask(served)
        assert code(answer) == (429, "queue-full")
        assert (answer.headers["retry-after"], answer.json()["limit"]) == ("1", "explanations")
        with served.client() as client:  # scoring is none the worse for it
            assert scores_of(client.post("/v1/models/small/score", json=records(0)))
        assert len([*folder.glob("asked-*")]) == 1
        (folder / "go on").touch()
        assert {future.result().status_code for future in waiting} == {200}
        assert len([*folder.glob("asked-*")]) == 3


def test_a_process_that_stops_waits_for_no_explanation(served: Served, held: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, served)
        wait_until(lambda: len([*held.glob("asked-*")]) == 1, PATIENCE_S)
        closing = threading.Thread(target=served.explanations.close)
        closing.start()
        assert code(waiting.result()) == (503, "unavailable")
        closing.join(60)
        assert not closing.is_alive()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"topic": "small.input"}, 400),
        ({**PLACE, "offset": -1}, 400),
        ({**PLACE, "offset": 2**63}, 400),
        ({**PLACE, "partition": "x"}, 400),
        ({**PLACE, "topic": "a\0b"}, 400),
        ({**PLACE, "topic": "--help "}, 400),
        ({**PLACE, "topic": ""}, 400),
        ({**PLACE, "topic": "x" * 250}, 400),
    ],
)
def test_a_place_that_cannot_be_one_costs_no_process(served: Served, query: dict[str, str | int], status: int) -> None:
    says(served, "{}")
    with served.client() as client:
        assert client.get(PATH, params=query).status_code == status
    assert not (served.folder / "asked").exists()


def test_nothing_is_told_of_a_model_that_is_not_served_here(served: Served) -> None:
    says(served, "{}")
    assert code(ask(served, "/v1/predictions/stranger/explanation")) == (404, "unknown-model")
    assert not (served.folder / "asked").exists()
