"""A real Airflow for tests: its four processes in a home and on a port of their own."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

from local.credentials import Secrets, load_or_create
from local.demo.airflow import Airflow
from local.environment import process_environment, server_environment, stack_environment
from local.ports import free_ports
from local.prepare import migrate_airflow
from local.readiness import all_healthy, fetch
from local.settings import Ports, StackSettings
from tests.support.airflow_home import PROJECT

PROCESSES: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""Airflow's own processes by name, with the words behind ``airflow``."""
READY_WITHIN_S = 300.0


class AirflowStack:
    """The processes, and how to reach them. Where one is killed, ``start`` starts it again.

    Args:
        variables: what the tasks and the triggerer need beside Airflow's own settings; they win.
        processes: those to run.
    """

    def __init__(
        self, folder: Path, variables: Mapping[str, str], processes: Mapping[str, tuple[str, ...]] = PROCESSES
    ) -> None:
        self.settings = _settings(folder)
        self._processes = processes
        self.secrets: Secrets = load_or_create(self.settings.secrets_dir)
        own = stack_environment(self.settings, self.secrets, path=os.environ.get("PATH", os.defpath))
        servers = {**server_environment(self.settings, self.secrets), **_BRISK, **variables}
        servers["PYTHONPATH"] = os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])
        self.environment = process_environment(os.environ, own, servers)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}

    def client(self, user: str = "admin") -> Airflow:
        """A client with a user's login: ``admin`` or ``viewer``."""
        password = {"admin": self.secrets.airflow_admin_password, "viewer": self.secrets.airflow_viewer_password}[user]
        return Airflow(self.settings.airflow_url, user, password)

    def up(self) -> None:
        """Start everything, and wait until all of it is healthy."""
        since = datetime.now(UTC)
        migrate_airflow(self.settings, self.environment)
        for name in self._processes:
            self.start(name)
        deadline_s = time.monotonic() + READY_WITHIN_S
        while not self._healthy(since):
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended: {self.log_of(name)[-3_000:]}"
            assert time.monotonic() < deadline_s, f"Airflow is not ready after {READY_WITHIN_S} s"
            time.sleep(0.3)

    def start(self, name: str) -> None:
        """Start one of the processes, in a session of its own, so that its children can be killed with it."""
        log = self._logs.setdefault(name, self._log(name).open("ab"))
        command = [str(self.settings.venv_dir / "bin" / "airflow"), *self._processes[name]]
        self._running[name] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, cwd=PROJECT, start_new_session=True
        )

    def kill(self, name: str) -> None:
        """SIGKILL to a process and its children."""
        process = self._running.pop(name)
        os.killpg(process.pid, 9)
        process.wait(20)

    def task_processes(self) -> list[psutil.Process]:
        """The processes in which tasks run now: below the scheduler's workers."""
        scheduler = self._running["scheduler"].pid
        found = psutil.Process(scheduler).children(recursive=True)
        return [process for process in found if process.is_running() and process.ppid() != scheduler]

    def down(self) -> None:
        """End everything."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait(20)
        for log in self._logs.values():
            log.close()

    def log_of(self, name: str) -> str:
        """What a process has said."""
        return self._log(name).read_text(errors="replace")

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """What all tries of a task have said, the triggerer's part included."""
        paths = self._task_logs(dag_id, run_id, task_id)
        return "\n".join(path.read_text(errors="replace") for path in paths)

    def was_deferred(self, dag_id: str, run_id: str, task_id: str) -> bool:
        """Whether the triggerer had a part in a task."""
        return any(".trigger." in path.name for path in self._task_logs(dag_id, run_id, task_id))

    def _task_logs(self, dag_id: str, run_id: str, task_id: str) -> list[Path]:
        folder = self.settings.log_dir / "airflow" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return sorted(folder.glob("attempt=*"))

    def _log(self, name: str) -> Path:
        return self.settings.log_dir / f"{name}.log"

    def _healthy(self, since: datetime) -> bool:
        answer = fetch(f"{self.settings.airflow_url}/api/v2/monitor/health")
        return answer is not None and all_healthy(answer, since=since)


@contextmanager
def airflow_stack(
    folder: Path, variables: Mapping[str, str], processes: Mapping[str, tuple[str, ...]] = PROCESSES
) -> Iterator[AirflowStack]:
    """A stack that is up; everything that it started has ended when it is left."""
    stack = AirflowStack(folder, variables, processes)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def _settings(folder: Path) -> StackSettings:
    (port,) = free_ports(1)
    settings = StackSettings(
        project_dir=PROJECT, state_dir=folder, venv_dir=PROJECT / ".venv", ports=Ports(airflow=port)
    )
    for path in (settings.airflow_dir, settings.log_dir):
        path.mkdir(parents=True, exist_ok=True)
    return settings


# Shorter pauses than in production, so that tests wait for the tasks and not for the scheduler.
_BRISK = {
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
}
