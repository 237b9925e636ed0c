"""One start of the stack: prepare what needs it beside what can already run, and wait until all is ready."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from local.errors import StartError
from local.kafka.broker import prepare
from local.prepare import migrate_airflow, migrate_predictions, prepare_sqlite
from local.programs import BATON_COMMANDS, Program, broker_config, log_file
from local.readiness import Condition, conditions
from local.settings import StackSettings
from local.supervisor import Supervisor

Say = Callable[[str], None]

PROGRESS_EVERY_S = 5.0
POLL_S = 0.15
LEFT_RUNNING = "\nWhat did start is still running; `make logs` shows more, `make down` stops it."


class Start:
    """One start: prepares what must be prepared beside what can already run, and waits until all is ready."""

    def __init__(
        self,
        settings: StackSettings,
        supervisor: Supervisor,
        chosen: Sequence[Program],
        environment: Mapping[str, str],
        say: Say,
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._chosen = chosen
        self._environment = environment
        self._say = say
        self._began = time.monotonic()
        self._first_start: dict[str, int] = {}

    def run(self, timeout_s: float) -> None:
        """Start and wait; raises StartError when a process ends or is not ready within ``timeout_s``."""
        deadline = self._began + timeout_s
        since = datetime.now(UTC)
        running = {found.name for found in self._supervisor.states() if found.running}
        if running.issuperset(program.name for program in self._chosen):
            since = datetime.fromtimestamp(0, UTC)  # nothing is started, so the heartbeats there are do count
        asked = conditions(self._settings, since=since)
        waiting = {name: asked[name] for name in dict.fromkeys(program.component for program in self._chosen)}
        with ThreadPoolExecutor(max_workers=len(waiting) or 1) as pool:
            prepared = {name: pool.submit(self._prepare, name, needed=name not in running) for name in waiting}
            self._wait(waiting, prepared, deadline)

    def _prepare(self, component: str, *, needed: bool) -> None:
        if component == "kafka" and needed:
            prepare(self._settings.kafka_jars, broker_config(self._settings))
        if component == "airflow":
            migrate_airflow(self._settings, self._environment)
        if component == "mlflow" and needed:
            prepare_sqlite(self._settings, "mlflow")
        if component == "sink" and needed:
            migrate_predictions(self._settings)

    def _wait(self, waiting: dict[str, Condition], prepared: Mapping[str, "Future[None]"], deadline: float) -> None:
        started: set[str] = set()
        next_progress = self._began + PROGRESS_EVERY_S
        while waiting:
            self._start_prepared(prepared, started, ready=set(prepared) - set(waiting))
            self._fail_early(started)
            for name in [name for name in waiting if name in started and self._runs(name) and waiting[name]()]:
                del waiting[name]
                self._say(f"{name:<8} ready after {self._elapsed():5.1f} s")
            now = time.monotonic()
            if waiting and now > deadline:
                raise StartError(f"not ready in time: {self._describe(waiting)}{LEFT_RUNNING}")
            if waiting and now > next_progress:
                self._say(f"waiting for {', '.join(waiting)} ({self._elapsed():.0f} s)")
                next_progress = now + PROGRESS_EVERY_S
            time.sleep(POLL_S)

    def _start_prepared(self, prepared: Mapping[str, "Future[None]"], started: set[str], *, ready: set[str]) -> None:
        for component, future in prepared.items():
            blocked = component in BATON_COMMANDS and "kafka" in prepared and "kafka" not in ready
            if component not in started and future.done() and not blocked:
                future.result()
                for program in self._of(component):
                    self._supervisor.start_program(program.name)
                started.add(component)

    def _runs(self, component: str) -> bool:
        running = {found.name for found in self._supervisor.states() if found.running}
        return running.issuperset(program.name for program in self._of(component))

    def _fail_early(self, started: set[str]) -> None:
        names = {program.name for component in started for program in self._of(component)}
        for found in [found for found in self._supervisor.states() if found.name in names]:
            first = self._first_start.setdefault(found.name, found.started_at) or found.started_at
            self._first_start[found.name] = first
            if found.failed or (first and found.started_at > first):
                raise StartError(
                    f"{found.name} ended while starting ({found.state}); {self._tail(found.name)}{LEFT_RUNNING}"
                )

    def _of(self, component: str) -> list[Program]:
        return [program for program in self._chosen if program.component == component]

    def _describe(self, waiting: Mapping[str, Condition]) -> str:
        names = [program.name for component in waiting for program in self._of(component)]
        return f"{', '.join(waiting)} after {self._elapsed():.0f} s; " + "\n".join(map(self._tail, names))

    def _tail(self, name: str, lines: int = 25) -> str:
        path = log_file(self._settings, name)
        text = path.read_text(errors="replace") if path.exists() else ""
        return f"{path} ends with:\n" + "\n".join(text.splitlines()[-lines:])

    def _elapsed(self) -> float:
        return time.monotonic() - self._began
