import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from local.demo.airflow import Airflow, AirflowError, TaskEnd
from local.demo.tell import fact
from local.demo.terminal import Terminal


class StubAirflow(BaseHTTPRequestHandler):
    """Answers by method and path; the run advances with every look at it."""

    looks: ClassVar[list[str]] = []
    bodies: ClassVar[list[Any]] = []
    refuse_patches: ClassVar[int] = 0

    def _answer(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _read(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_POST(self) -> None:
        body = self._read()
        if self.path == "/auth/token":
            self._answer({"access_token": "t"} if body["password"] == "right" else {}, 201)
        else:
            type(self).bodies.append((self.path, self.headers["Authorization"], body))
            self._answer({"dag_run_id": "manual__1"})

    def do_PATCH(self) -> None:
        if type(self).refuse_patches:
            type(self).refuse_patches -= 1
            self._answer({"detail": "unknown"}, 404)
        else:
            type(self).bodies.append((self.path, self._read()))
            self._answer({})

    def do_DELETE(self) -> None:
        type(self).bodies.append((self.command, self.path))
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        if "xcomEntries/verdicts" in self.path:
            self._answer({"value": [{"gate": "data"}]})
        elif "xcomEntries" in self.path:
            self._answer({"detail": "none"}, 404)
        elif self.path.endswith("taskInstances"):
            ended = [("pull", "success", 2.0), ("gates", "failed", 1.0), ("promote", "upstream_failed", None)]
            tasks = [
                {"task_id": name, "state": state, "duration": seconds, "end_date": f"2026-01-01T00:00:0{n}Z"}
                for n, (name, state, seconds) in enumerate(ended[: len(self.looks)])
            ]
            self._answer(
                {"task_instances": [*tasks, {"task_id": "x", "state": None, "duration": None, "end_date": None}]}
            )
        elif self.path.endswith("limit=100"):
            self._answer(
                {"dag_runs": [{"dag_run_id": "old", "state": "failed"}, {"dag_run_id": "late", "state": "running"}]}
            )
        else:
            type(self).looks.append(self.path)
            self._answer({"state": "failed" if len(self.looks) > 2 else "running"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    StubAirflow.looks, StubAirflow.bodies, StubAirflow.refuse_patches = [], [], 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), StubAirflow)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Airflow(f"http://127.0.0.1:{server.server_port}/", "admin", "right")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_run_is_started_with_the_form_and_the_login(airflow: Airflow) -> None:
    assert airflow.start("train_x", {"start": "2013-01-01"}) == "manual__1"
    (unpause, paused), (path, login, body) = StubAirflow.bodies
    assert (unpause, paused) == ("/api/v2/dags/train_x", {"is_paused": False})
    assert (path, login) == ("/api/v2/dags/train_x/dagRuns", "Bearer t")
    assert body == {"logical_date": None, "conf": {"start": "2013-01-01"}}


def test_a_dag_that_airflow_has_not_read_yet_is_waited_for(airflow: Airflow) -> None:
    StubAirflow.refuse_patches = 1
    assert airflow.start("train_x", {}) == "manual__1"


def test_a_dag_that_never_comes_is_an_error(airflow: Airflow) -> None:
    StubAirflow.refuse_patches = 10
    with pytest.raises(AirflowError, match="404"):
        airflow.start("train_x", {}, known_within_s=0.0)


def test_a_run_is_followed_to_its_end_and_each_task_is_told_once(airflow: Airflow) -> None:
    told: list[TaskEnd] = []
    run = airflow.follow("train_x", "manual__1", told.append, limit_s=10, every_s=0.01)
    assert run.state == "failed"
    assert [(task.task_id, task.ran) for task in told] == [("pull", True), ("gates", True), ("promote", False)]
    assert run.tasks == {"pull": "success", "gates": "failed", "promote": "upstream_failed"}


def test_a_run_that_does_not_end_is_an_error(airflow: Airflow) -> None:
    with pytest.raises(AirflowError, match="has not ended"):
        airflow.follow("train_x", "manual__1", lambda _: None, limit_s=-1, every_s=0.01)


def test_verdicts_can_be_read_and_a_missing_value_is_none(airflow: Airflow) -> None:
    assert airflow.xcom("train_x", "manual__1", "gates", "verdicts") == [{"gate": "data"}]
    assert airflow.result("train_x", "manual__1", "gates") is None


def test_runs_are_forgotten_and_those_under_way_ended_first(airflow: Airflow) -> None:
    airflow.forget_runs("train_x")
    assert StubAirflow.bodies == [
        ("DELETE", "/api/v2/dags/train_x/dagRuns/old"),
        ("/api/v2/dags/train_x/dagRuns/late", {"state": "failed"}),
        ("DELETE", "/api/v2/dags/train_x/dagRuns/late"),
    ]


def test_an_airflow_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AirflowError, match="POST /auth/token"):
        Airflow("http://127.0.0.1:9", "admin", "x").call("GET", "/dags")


def test_facts_are_short_and_a_result_of_another_form_is_passed_over() -> None:
    rows = {"rows": 80_687, "labels_not_yet_known": 848}
    assert fact("assemble", rows) == "80,687 flights, 848 outcomes not known yet"
    base = {"kind": "champion", "version": "1", "metrics": {"auc": 0.638}}
    assert fact("evaluate", {"metrics": {"auc": 0.653}, "baseline": base}) == "auc 0.653 against 0.638 of version 1"
    verdicts = [{"gate": "data", "judgement": "fail"}, {"gate": "parity", "judgement": "error"}]
    assert fact("gates", {"verdicts": verdicts}) == "refused by data"
    assert fact("assemble", {"lines": 3}) == fact("unheard_of", {"rows": 1}) == fact("assemble", None) == ""


def test_the_terminal_stamps_lines_wraps_them_and_notes_how_long_a_step_took() -> None:
    lines: list[str] = []
    now = [0.0]
    terminal = Terminal(lines.append, clock=lambda: now[0], width=60)
    with terminal.step(3, "The relay", "because " * 12):
        now[0] = 75.0
        terminal.say("word " * 20)
    terminal.columns("lost", "0", "records without an outcome, of which there must be none at all")
    assert lines[1] == "  0:00  [3/8] The relay"
    assert lines[2].startswith("        | because")
    assert any(line.startswith("  1:15  word") for line in lines)
    assert max(map(len, lines)) <= 62
    assert terminal.phases == [("The relay", 75.0)]
