"""Starts and stops the stack."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from local.credentials import Secrets, load_or_create, write_private
from local.environment import (
    kafka_options,
    process_environment,
    render_environment,
    server_environment,
    stack_environment,
    write_environment_file,
)
from local.errors import SettingError, StackError, StartError
from local.kafka.broker import answers_metadata
from local.ports import check_ports_free
from local.prepare import mlflow_auth
from local.processes import end_marked_processes
from local.programs import Program, programs
from local.settings import COMPONENTS, StackSettings
from local.start import Say, Start
from local.supervisor import Supervisor

START_TIMEOUT_S = 180.0
EXISTING_KAFKA_TIMEOUT_S = 10.0


class Stack:
    """The stack of one state directory. ``caller`` is the environment from which the processes inherit."""

    def __init__(self, settings: StackSettings, *, caller: Mapping[str, str], say: Say) -> None:
        self._settings = settings
        self._caller = caller
        self._say = say
        self._supervisor = Supervisor(settings)

    def up(self, components: Sequence[str] = COMPONENTS, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start ``components`` and return when they are ready; what runs already is left running.

        Raises:
            PortBusyError: another process has a port.
            StartError: a process ended or was not ready within ``timeout_s``; with the tail of its log.
            StackError: another ``up`` or ``down`` is at work, or the settings are not those of the running stack.
        """
        if self._settings.existing_kafka is not None:
            components = tuple(name for name in components if name != "kafka")
            self._require_existing_kafka(self._settings.existing_kafka)
        with self._exclusive():
            secrets = self._make_directories()
            environment = self._environment(secrets)
            chosen = programs(self._settings, components)
            self._start_supervisor(chosen, components, environment, secrets)
            Start(self._settings, self._supervisor, chosen, environment, self._say).run(timeout_s)

    def down(self) -> None:
        """Stop everything gracefully, then end what is left of this stack and of no other."""
        if not self._settings.state_dir.exists():
            return
        with self._exclusive():
            if self._supervisor.alive():
                self._stop_in_order()
                self._supervisor.shutdown()
            self._sweep()
            self._say("down")

    def _require_existing_kafka(self, address: str) -> None:
        if not answers_metadata(kafka_options(self._settings), timeout_s=EXISTING_KAFKA_TIMEOUT_S):
            what = "check the address in BATON_KAFKA_BOOTSTRAP and the options, or unset it for a broker of our own"
            raise StartError(f"no Kafka answers at {address}; {what}")
        self._say(f"kafka    is the existing one at {address}")

    def _start_supervisor(
        self, chosen: Sequence[Program], components: Sequence[str], environment: Mapping[str, str], secrets: Secrets
    ) -> None:
        shell = stack_environment(self._settings, secrets, path=self._caller.get("PATH", os.defpath))
        if self._supervisor.alive():
            self._require_same_settings(shell)
            self._supervisor.configure(chosen)
            self._supervisor.reload()
            return
        self._sweep()
        ports = {port: number for name in components for port, number in self._settings.ports.of(name).items()}
        check_ports_free(ports, patience_s=3.0)
        write_environment_file(self._settings, shell)
        self._supervisor.start(chosen, environment)

    def _require_same_settings(self, shell: Mapping[str, str]) -> None:
        running = self._settings.environment_file.read_text()
        if running == render_environment(shell):
            return
        others = [
            name for name, value in shell.items() if render_environment({name: value}).splitlines()[-1] not in running
        ]
        named = f" ({', '.join(others)})" if others else ""
        raise SettingError(f"the stack is running with other settings{named}; run `make down` first")

    def _stop_in_order(self) -> None:
        rank = {program.name: program.stop_rank for program in programs(self._settings, COMPONENTS)}
        names = [found.name for found in self._supervisor.states()]
        for this in sorted({rank.get(name, 0) for name in names}):
            together = [name for name in names if rank.get(name, 0) == this]
            started = time.monotonic()
            self._supervisor.stop(together)
            self._say(f"stopped {', '.join(together)} in {time.monotonic() - started:.1f} s")

    def _sweep(self) -> None:
        left_over = end_marked_processes(self._settings.state_dir, grace_s=10)
        if left_over:
            self._say(f"ended what the stack's processes had left behind: {', '.join(left_over)}")

    def _environment(self, secrets: Secrets) -> dict[str, str]:
        shell = stack_environment(self._settings, secrets, path=self._caller.get("PATH", os.defpath))
        return process_environment(self._caller, shell, server_environment(self._settings, secrets))

    def _make_directories(self) -> Secrets:
        settings = self._settings
        for folder in (settings.log_dir, settings.kafka_dir, settings.airflow_dir, settings.mlflow_dir):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("cache", "snapshots", "warehouse"):
            (settings.state_dir / name).mkdir(exist_ok=True)
        secrets = load_or_create(settings.secrets_dir)
        write_private(settings.mlflow_dir / "auth.ini", mlflow_auth(settings, secrets))
        return secrets

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._settings.state_dir / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"another `up` or `down` is at work in {self._settings.state_dir}; wait until it has ended"
                ) from None
            yield
