"""Airflow's REST API, as far as the demonstration needs it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.demo.errors import DemoFailed

_ENDED = {"success", "failed"}
_TASK_ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


class AirflowError(DemoFailed):
    """Airflow answered with an error, or not at all."""


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """A task that ended."""

    task_id: str
    state: str
    duration_s: float

    @property
    def ran(self) -> bool:
        """Whether it did anything; the others were passed over."""
        return self.state in {"success", "failed"} and self.duration_s > 0


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that ended."""

    dag_id: str
    run_id: str
    state: str
    duration_s: float
    tasks: Mapping[str, str]


class Airflow:
    """A client with a user's login. Talks to this machine only, past any proxy."""

    def __init__(self, url: str, user: str, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._clock = clock
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._token: str | None = None

    def start(self, dag_id: str, conf: Mapping[str, Any], *, known_within_s: float = 60.0) -> str:
        """Unpause a DAG and start a run of it; returns the run's id. Waits until Airflow has read the DAG's file."""
        deadline = self._clock() + known_within_s
        while True:
            try:
                self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
                break
            except AirflowError:
                if self._clock() > deadline:
                    raise
                time.sleep(0.5)
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def forget_runs(self, dag_id: str) -> None:
        """Delete all runs of a DAG, ending those that an earlier caller left under way."""
        try:
            runs = self.call("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        except AirflowError:
            return  # Airflow has not read the DAG's file yet, so it has no run
        for run in runs:
            path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
            if run["state"] not in _ENDED:
                self.call("PATCH", path, {"state": "failed"})
            self.call("DELETE", path)

    def follow(
        self, dag_id: str, run_id: str, told: Callable[[TaskEnd], None], *, limit_s: float, every_s: float = 0.5
    ) -> RunEnd:
        """Wait for the end of a run, telling of each task that ends.

        Raises:
            AirflowError: it did not end within ``limit_s``.
        """
        began_s, known = self._clock(), set[str]()
        while True:
            run = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            for ended in self._ended_tasks(dag_id, run_id):
                if ended.task_id not in known:
                    known.add(ended.task_id)
                    told(ended)
            if run["state"] in _ENDED:
                tasks = {task.task_id: task.state for task in self._ended_tasks(dag_id, run_id)}
                return RunEnd(dag_id, run_id, run["state"], self._clock() - began_s, tasks)
            if self._clock() - began_s > limit_s:
                raise AirflowError(f"run {run_id} of {dag_id} has not ended after {limit_s:.0f} s")
            time.sleep(every_s)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str) -> Any:
        """A value that a task handed on; None where there is none."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            value = self.call("GET", path)["value"]
        except AirflowError:
            return None
        return json.loads(value) if isinstance(value, str) else value

    def result(self, dag_id: str, run_id: str, task_id: str) -> Mapping[str, Any] | None:
        """A step's result: the value that its task handed on under ``result``, else what it returned."""
        for key in ("result", "return_value"):
            found = self.xcom(dag_id, run_id, task_id, key)
            if isinstance(found, dict):
                return found
        return None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON that a call of the API answers.

        Raises:
            AirflowError: with the answer's text.
        """
        if self._token is None:
            self._token = self._send("POST", "/auth/token", self._login, {})["access_token"]
        return self._send(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})

    def _ended_tasks(self, dag_id: str, run_id: str) -> Iterator[TaskEnd]:
        found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        for task in sorted(found, key=lambda task: task["end_date"] or ""):
            if task["state"] in _TASK_ENDED:
                yield TaskEnd(task["task_id"], task["state"], task["duration"] or 0.0)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - an address of the local stack
            self._url + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")[:500]
            raise AirflowError(f"Airflow: {method} {path}: {error.code} {detail}") from error
        except (OSError, ValueError) as error:
            raise AirflowError(f"Airflow: {method} {path}: {error}") from error
