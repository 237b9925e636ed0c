"""One broker process: format, start, stop, kill, restart."""

import base64
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.errors import BrokerError
from local.kafka.properties import FAULT_TESTS, BrokerConfig, render

FORMATTED = "formatted"
"""File in the data directory that says that its formatting was finished."""

LOG_LEVELS = {
    "org.slf4j.simpleLogger.defaultLogLevel": "warn",
    "org.slf4j.simpleLogger.log.kafka.server": "info",
    "org.slf4j.simpleLogger.log.org.apache.kafka.server.util.ShutdownableThread": "warn",
    "org.slf4j.simpleLogger.showDateTime": "true",
    "org.slf4j.simpleLogger.dateTimeFormat": "yyyy-MM-dd HH:mm:ss,SSS",
    "org.slf4j.simpleLogger.showThreadName": "false",
}


def java_command(jars: Path, main: str, *arguments: str, heap: str) -> list[str]:
    """The command that runs ``main`` with all jars of the folder ``jars``."""
    logging = [f"-D{name}={value}" for name, value in LOG_LEVELS.items()]
    return ["java", f"-Xmx{heap}", "-Djava.net.preferIPv4Stack=true", *logging, "-cp", f"{jars}/*", main, *arguments]


def broker_command(jars: Path, config: BrokerConfig) -> list[str]:
    """The command that runs the broker in the foreground."""
    return java_command(jars, "kafka.Kafka", str(config.properties_file), heap=config.heap)


def prepare(jars: Path, config: BrokerConfig) -> None:
    """Write the properties, and format the data directory unless that is done.

    Raises:
        BrokerError: the jars are not there, or formatting failed.
    """
    if not any(jars.glob("kafka_*.jar")):
        raise BrokerError(f"no Kafka jars in {jars}; run `make venv` to fetch them")
    config.data_dir.mkdir(parents=True, exist_ok=True)
    config.properties_file.write_text(render(config))
    formatted = config.data_dir / FORMATTED
    if not formatted.exists():
        _format(jars, config)
        formatted.touch()


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on 127.0.0.1:port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers_metadata(options: Mapping[str, Any], *, timeout_s: float) -> bool:
    """Whether the broker that these options reach lists itself in its metadata, and so serves clients."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        admin = AdminClient({**options, "log_level": 0, "socket.connection.setup.timeout.ms": 1000})
        return bool(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


class Broker:
    """A broker process of one's own. Its data outlives ``stop`` and ``kill``, so ``start`` continues with it."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        jars: Path,
        log_file: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        self.log_file = log_file or config.data_dir / "broker.log"
        self._jars = jars
        self._environ = dict(environ) if environ is not None else None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def for_faults(cls, data_dir: Path, *, ports: tuple[int, int], jars: Path) -> Self:
        """A broker with the settings of fault tests on ``ports`` (clients, controller)."""
        port, controller_port = ports
        config = BrokerConfig(data_dir=data_dir, port=port, controller_port=controller_port, overrides=FAULT_TESTS)
        return cls(config, jars=jars)

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return self.config.bootstrap

    @property
    def pid(self) -> int:
        """The process id; raises BrokerError when the broker is not running."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Format when needed, start, and return when clients are served.

        Raises:
            BrokerError: it ended, or did not serve within ``timeout_s``; with the tail of its log.
        """
        if self.running:
            raise BrokerError(f"the broker on {self.bootstrap} is running already")
        prepare(self._jars, self.config)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                broker_command(self._jars, self.config),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
            )
        self._wait_until_ready(time.monotonic() + timeout_s)

    def stop(self, *, timeout_s: float = 20.0) -> None:
        """End the broker gracefully, by force after ``timeout_s``; nothing happens when it is not running."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the broker with SIGKILL, as a crash would."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self, *, timeout_s: float = 60.0) -> None:
        """Stop gracefully and start again on the same data."""
        self.stop()
        self.start(timeout_s=timeout_s)

    def suspend(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after ``suspend``."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        if not self.running:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BrokerError(f"the broker on {self.bootstrap} is not running; call start() first")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        process = self._running()
        if process.poll() is None:
            if number == signal.SIGTERM:
                process.send_signal(signal.SIGCONT)  # a suspended process would not hear it
            process.send_signal(number)

    def _wait_until_ready(self, deadline: float) -> None:
        process = self._running()
        while process.poll() is None and time.monotonic() < deadline:
            clients = {"bootstrap.servers": self.bootstrap}
            if accepts_connections(self.config.port) and answers_metadata(clients, timeout_s=2.0):
                return
            time.sleep(0.05)
        ended = f"ended with status {process.poll()}" if process.poll() is not None else "did not serve in time"
        self.kill()
        raise BrokerError(f"the broker on {self.bootstrap} {ended}; {self.log_file} ends with:\n{self._tail()}")

    def _tail(self, lines: int = 15) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def _format(jars: Path, config: BrokerConfig) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    storage_tool = ["format", "--ignore-formatted", f"--cluster-id={cluster_id}", "-c", str(config.properties_file)]
    command = java_command(jars, "kafka.tools.StorageTool", *storage_tool, heap="256m")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerError(f"could not format {config.data_dir}:\n{done.stdout}{done.stderr}")
