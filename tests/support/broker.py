"""A real broker for the tests: one for the session, on free ports, with topics of each test's own."""

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from local.kafka.broker import Broker
from local.ports import free_ports

PROJECT = Path(__file__).parent.parent.parent
KAFKA_JARS = PROJECT / ".venv" / "share" / "kafka"
RUN_MARKER = "BATON_TEST_RUN"
"""Environment variable with the pid of the test run; whatever a run starts inherits it."""


class MakeTopic(Protocol):
    """Creates a topic whose name no other test has, and returns the name."""

    def __call__(self, name: str = "topic", *, partitions: int = 1, **settings: str) -> str: ...


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's broker, with the settings of fault tests. Do not stop it: see ``own_broker``."""
    with _broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker for this test alone, to be stopped, killed and started again (it takes some 4 s to start)."""
    with _broker(tmp_path / "kafka") as running:
        yield running


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Makes a name that nobody else has, for a model, a group or a transactional id."""
    return lambda prefix: f"{prefix}_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make_topic(broker: Broker, unique_name: Callable[[str], str]) -> MakeTopic:
    """Makes topics on the session's broker: ``make_topic("input", partitions=4, **{"cleanup.policy": "compact"})``."""

    def make(name: str = "topic", *, partitions: int = 1, **settings: str) -> str:
        topic = unique_name(name)
        create_topic(broker.bootstrap, topic, partitions=partitions, settings=settings)
        return topic

    return make


def create_topic(bootstrap: str, name: str, *, partitions: int = 1, settings: dict[str, str] | None = None) -> None:
    """Create the topic ``name``; raises KafkaException when it is there already."""
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings or {})
    created: dict[str, Future[None]] = AdminClient({"bootstrap.servers": bootstrap}).create_topics([topic])
    created[name].result(timeout=15)


def end_processes_of_dead_runs() -> None:
    """End what test runs that were killed have left behind."""
    for process in psutil.process_iter():
        run = _run_of(process)
        if run is not None and run != os.getpid() and not psutil.pid_exists(run):
            process.kill()


def end_processes_of_this_run() -> list[str]:
    """End what this test run has started and not ended; returns the command lines."""
    left = [process for process in psutil.process_iter() if _is_left_over(process)]
    described = [" ".join(process.cmdline()[:6]) for process in left]
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5)
    return described


def _broker(data_dir: Path) -> Broker:
    if not KAFKA_JARS.exists():
        pytest.fail(f"no Kafka jars in {KAFKA_JARS}; run `make venv` first")
    port, controller_port = free_ports(2)
    return Broker.for_faults(data_dir, ports=(port, controller_port), jars=KAFKA_JARS)


def _is_left_over(process: psutil.Process) -> bool:
    if process.pid == os.getpid() or _run_of(process) != os.getpid():
        return False
    # Python's own helper ends with its parent.
    return not any("multiprocessing.resource_tracker" in part for part in process.cmdline())


def _run_of(process: psutil.Process) -> int | None:
    try:
        run = process.environ().get(RUN_MARKER, "")
        return int(run) if run.isdecimal() and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):
        return None
