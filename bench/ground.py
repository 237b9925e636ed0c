"""What benches stand on: a broker of their own, topics, signed notices, and processes that are held to one core.

The measured processes have the first core that this process may use, everything else (the broker, this process, its
readers) the second; on a machine with one core they share it, and the figures mean little.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.environments import python_that_scores
from bench.flights import Flights, Parts
from bench.measurements import FOLDER, PROJECT
from bench.visible import PARTITIONS, Ends
from local.kafka.broker import Broker
from local.kafka.properties import BrokerConfig
from local.ports import free_ports
from scoring.contract.envelope import Keyring
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind, Notice, seal_notice
from scoring.contract.topics import INPUT_MAXIMUM_BYTES, NOTICES, control_topics, model_topics

KAFKA_JARS = PROJECT / ".venv" / "share" / "kafka"
INPUT = "flights.input"
LEDGER = UUID(int=7)
SIGNING_KEYS = {"active": "bench", "keys": {"bench": "a" * 43 + "="}}
STOP_TIMEOUT_S = 15.0
# Topics that were deleted give their disk back at once, and small ones are cut to size soon.
BROKER = {"log.segment.delete.delay.ms": "500", "log.retention.check.interval.ms": "2000"}
TICKS_PER_S, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
CORES = sorted(os.sched_getaffinity(0))
MEASURED_CORE, OTHER_CORE = CORES[0], CORES[min(1, len(CORES) - 1)]
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes that are started meanwhile have this core and no other; None leaves them those of this process."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Running:
    """A measured process and what it started.

    Attributes:
        log: what it wrote.
        started_s: on the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    log: Path
    started_s: float

    def processor_s(self) -> float:
        """Processor time of the process and its children so far, those that have ended included, in seconds."""
        return sum(_ticks(pid) for pid in self._tree()) / TICKS_PER_S

    def memory_bytes(self) -> int:
        """Resident memory of the process alone; what it starts to fetch and try a bundle ends after that."""
        return _resident_bytes(self.process.pid)

    def tree_memory_bytes(self) -> int:
        """Resident memory of the process and everything that it has started."""
        return sum(map(_resident_bytes, self._tree()))

    def _tree(self) -> list[int]:
        pids = [self.process.pid]
        for pid in pids:
            pids += _children(pid)
        return pids

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it, gently first."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and what it started at once."""
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end_of_log(self, characters: int = 2_000) -> str:
        """The last lines that it wrote."""
        return self.log.read_text(errors="replace")[-characters:]


@dataclass
class Ground:
    """A running broker and a folder for what its users keep.

    Attributes:
        scratch: deleted at the end.
        python: the interpreter of a host that only scores.
        pinned: what is measured has the first core, everything else the other.
    """

    flights: Flights
    broker: Broker
    scratch: Path
    keyring: Keyring
    admin: AdminClient
    producer: Producer
    metrics_port: int
    python: Path
    pinned: bool = True
    running: list[Running] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        """host:port."""
        return self.broker.bootstrap

    # --- topics and records ---------------------------------------------------------------------------------------

    def create(self, *names: str, **settings: str) -> None:
        """Create topics with four partitions."""
        # As `baton topics` makes input topics: a worker checks that its outputs have room for the largest input.
        config = {"max.message.bytes": str(INPUT_MAXIMUM_BYTES), **settings}
        self._make([NewTopic(name, PARTITIONS, 1, config=config) for name in names])

    def _make(self, topics: Sequence[NewTopic]) -> None:
        for future in self.admin.create_topics([*topics]).values():
            future.result(20)
        end = Ends(self.bootstrap)
        for topic in topics:
            end.await_leaders(topic.topic)

    def delete(self, *names: str) -> None:
        """Delete topics."""
        for future in self.admin.delete_topics([*names]).values():
            future.result(20)

    def create_for(self, topics: Topics, **settings: str) -> None:
        """A model's two output topics; the input topic is there, or is created by name."""
        specs = [spec for spec in model_topics(topics, PARTITIONS) if spec.name != topics.input]
        self._make([NewTopic(spec.name, PARTITIONS, 1, config={**spec.settings, **settings}) for spec in specs])

    def preload(self, topic: str, records: int, *, keyed: bool = False) -> None:
        """Fill a new input topic with a backlog: the flights over and over, spread evenly.

        Args:
            keyed: one key per partition in place of the flight's.
        """
        self.create(topic)
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "log_level": 0,
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "batch.num.messages": 10_000,
                "queue.buffering.max.messages": 500_000,
            }
        )
        messages = self.flights.messages
        for number in range(records):
            key, value = messages[number % len(messages)]
            while True:
                try:
                    producer.produce(topic, value, b"%d" % (number % PARTITIONS) if keyed else key, number % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.05)
        if producer.flush(120):
            raise RuntimeError(f"{topic} could not be filled with {records} records")

    # --- models ---------------------------------------------------------------------------------------------------

    def register(self, parts: Parts, model: str, topics: Topics, version: int) -> str:
        """Put a version's bundle into the folder registry; returns the manifest's digest."""
        return parts.write(self.scratch / "registry" / model / str(version), model, topics, version)

    def notify(self, model: str, sequence: int, version: int, digest: str) -> None:
        """Announce that a version was promoted."""
        now = datetime.now(UTC)
        notice = Notice(
            ledger=LEDGER,
            model=model,
            sequence=sequence,
            kind=Kind.PROMOTE,
            version=str(version),
            manifest_digest=digest,
            decided_at=now,
            effective_from=now,
        )
        sealed = seal_notice(notice, source="bench", event_id=str(uuid4()), time=now, keyring=self.keyring)
        self.producer.produce(NOTICES, sealed.value, sealed.key, headers=[*sealed.headers])
        if self.producer.flush(20):
            raise RuntimeError(f"the notice of {model} {sequence} was not delivered")

    # --- processes ------------------------------------------------------------------------------------------------

    def environment(self, deployment: str, model: str, **settings: object) -> dict[str, str]:
        """Baton's settings for a worker: of this environment none is taken over."""
        baton = {
            "kafka_bootstrap": self.bootstrap,
            "signing_keys_file": self.scratch / "keys.json",
            "registry_uri": f"file://{self.scratch}/registry",
            "cache_dir": self.scratch / "cache" / deployment,
            "deployment": deployment,
            "models": model,
            "log_format": "json",
            "metrics_port": self.metrics_port,
            "processes": 0,  # unsupervised: what is measured is the worker alone
            **settings,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        return inherited | SINGLE_THREADED | {f"BATON_{name.upper()}": str(value) for name, value in baton.items()}

    def baton(self, deployment: str, model: str, **settings: object) -> Running:
        """Start ``baton worker`` as on a host that only scores."""
        command = [str(self.python), "-m", "scoring", "worker"]
        return self.start(command, self.environment(deployment, model, **settings), f"{deployment}-worker")

    def start(self, command: Sequence[str], environment: Mapping[str, str], name: str) -> Running:
        """Start a process, on the measured core where there is one."""
        log = self.scratch / f"{name}-{len(self.running)}.log"
        with on_core(MEASURED_CORE if self.pinned else None), log.open("wb") as file:
            process = subprocess.Popen(
                [*command], env={**environment}, stdout=file, stderr=file, cwd=PROJECT, start_new_session=True
            )
        self.running.append(Running(process, log, time.monotonic()))
        return self.running[-1]


class Grounds:
    """Context manager of a ``Ground``: starts the broker, and leaves neither processes nor scratch files behind."""

    def __init__(self, flights: Flights, *, pinned: bool = True, **broker: str) -> None:
        self._flights = flights
        self._pinned = pinned
        self._properties = {**BROKER, **broker}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def open(self) -> Ground:
        """Start everything."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        if self._pinned:
            os.sched_setaffinity(0, {OTHER_CORE})
        scratch = Path(tempfile.mkdtemp(prefix="run-", dir=FOLDER))
        self._stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        (scratch / "keys.json").write_text(json.dumps(SIGNING_KEYS))
        port, controller = free_ports(2)
        config = BrokerConfig(
            data_dir=scratch / "kafka", port=port, controller_port=controller, overrides=self._properties
        )
        broker = self._stack.enter_context(Broker(config, jars=KAFKA_JARS))
        ground = Ground(
            flights=self._flights,
            pinned=self._pinned,
            broker=broker,
            scratch=scratch,
            keyring=Keyring.from_json((scratch / "keys.json").read_bytes()),
            metrics_port=free_ports(1)[0],
            python=python_that_scores(),
            admin=AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0}),
            producer=Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "log_level": 0}),
        )
        self._stack.callback(_end_all, ground)
        specs = control_topics()
        made = ground.admin.create_topics([NewTopic(s.name, s.partitions, 1, config=dict(s.settings)) for s in specs])
        for future in made.values():
            future.result(20)
        return ground


@contextmanager
def opened(flights: Flights, *, pinned: bool = True, **broker: str) -> Iterator[Ground]:
    """A ground for the length of a ``with``; properties of the broker with underscores for dots."""
    named: dict[str, Any] = {name.replace("_", "."): value for name, value in broker.items()}
    with Grounds(flights, pinned=pinned, **named) as grounds:
        yield grounds.open()


def _ticks(pid: int) -> int:
    """User and system time of a process and of the children that it has waited for (proc(5), fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _children(pid: int) -> list[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for text in lists for child in text.split()]


def unique(prefix: str) -> str:
    """A name that nobody else has, for a model, its deployment or a group."""
    return f"{prefix}_{uuid4().hex[:8]}"


def _end_all(ground: Ground) -> None:
    for running in ground.running:
        running.kill()
