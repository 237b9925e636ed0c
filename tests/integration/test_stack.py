"""The stack itself, of broker and registry alone, in a state directory and on ports of its own."""

import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.errors import PortBusyError, StackError, StartError
from local.kafka.broker import FORMATTED, answers_metadata
from local.ports import free_ports
from local.processes import end_marked_processes, marked_processes
from local.readiness import mlflow_ready
from local.report import all_running, read_states
from local.settings import StackSettings, read_settings
from local.stack import Stack
from local.supervisor import control_socket

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_200)]

COMPONENTS = ("kafka", "mlflow")


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[StackSettings]:
    found = _make_settings(tmp_path)
    yield found
    end_marked_processes(found.state_dir, grace_s=0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackSettings]:
    """A stack of the broker alone, running, that tests share."""
    found = _make_settings(tmp_path_factory.mktemp("stack"))
    _stack(found).up(("kafka",))
    yield found
    _stack(found).down()


def _make_settings(folder: Path) -> StackSettings:
    kafka, controller, mlflow = free_ports(3)
    ports = {"KAFKA": kafka, "KAFKA_CONTROLLER": controller, "MLFLOW": mlflow}
    variables = {f"BATON_{name}_PORT": str(port) for name, port in ports.items()}
    return read_settings(variables | {"BATON_STATE_DIR": str(folder / "var")})


def _stack(settings: StackSettings, say: Callable[[str], None] = print) -> Stack:
    return Stack(settings, caller=os.environ, say=say)


def _serves(settings: StackSettings) -> bool:
    return answers_metadata({"bootstrap.servers": settings.kafka_bootstrap}, timeout_s=30) and mlflow_ready(settings)


def _supervisor(settings: StackSettings) -> psutil.Process:
    return psutil.Process(int((settings.supervisor_dir / "supervisord.pid").read_text()))


def _listening_addresses(settings: StackSettings) -> set[str]:
    pids = {process.pid for process in marked_processes(settings.state_dir)}
    found = [c for c in psutil.net_connections("inet") if c.pid in pids and c.status == psutil.CONN_LISTEN]
    return {c.laddr.ip for c in found if c.laddr}


def test_a_killed_stack_starts_again_and_stops_without_a_process_left(settings: StackSettings) -> None:
    said: list[str] = []
    stack = _stack(settings, said.append)
    stack.up(("kafka",))
    broker = read_states(settings)[0]
    stack.up(COMPONENTS)  # adds what is not there yet
    assert read_states(settings)[0].pid == broker.pid
    assert _serves(settings)
    assert all_running(read_states(settings))
    assert _listening_addresses(settings) == {"127.0.0.1"}

    _supervisor(settings).kill()  # its children go on, with nobody to restart them
    stack.up(COMPONENTS)
    assert _serves(settings)
    assert any(
        line.startswith("ended what the stack's processes had left behind: ") and "java" in line for line in said
    )

    for process in marked_processes(settings.state_dir):  # as when the machine goes down: nobody cleans up
        process.send_signal(signal.SIGKILL)
    stack.up(COMPONENTS)
    assert _serves(settings)

    stack.down()
    assert marked_processes(settings.state_dir) == []
    assert read_states(settings) == []


def test_up_leaves_alone_what_runs(running: StackSettings) -> None:
    first = read_states(running)
    _stack(running).up(("kafka",))
    assert [state.pid for state in read_states(running)] == [state.pid for state in first]


def test_only_the_owner_can_enter_the_state(running: StackSettings) -> None:
    assert stat.S_IMODE(running.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(running.environment_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(control_socket(running.supervisor_dir).stat().st_mode) == 0o600


def test_other_settings_than_those_of_the_running_stack_are_refused(running: StackSettings) -> None:
    changed = {"BATON_STATE_DIR": str(running.state_dir), "BATON_KAFKA_PORT": str(free_ports(1)[0])}
    with pytest.raises(StackError, match="run `make down` first"):
        _stack(read_settings(changed)).up(("kafka",))


def test_what_died_is_started_again(running: StackSettings) -> None:
    before = read_states(running)[0]
    psutil.Process(before.pid).kill()
    deadline = time.monotonic() + 180
    clients = {"bootstrap.servers": running.kafka_bootstrap}
    while not (all_running(read_states(running)) and answers_metadata(clients, timeout_s=1)):
        assert time.monotonic() < deadline, "the broker was not restarted"
        time.sleep(0.1)
    assert read_states(running)[0].pid != before.pid


def test_a_port_in_use_is_named_and_nothing_is_started(settings: StackSettings) -> None:
    busy = rf"port {settings.ports.kafka} .*set BATON_KAFKA_PORT"
    with (
        socket.create_server(("127.0.0.1", settings.ports.kafka)),
        pytest.raises(PortBusyError, match=busy),
    ):
        _stack(settings).up(("kafka",))
    assert marked_processes(settings.state_dir) == []


def test_a_process_that_ends_while_starting_is_shown_with_the_end_of_its_log(settings: StackSettings) -> None:
    records = settings.kafka_dir / "records"
    records.mkdir(parents=True)
    (records.parent / FORMATTED).touch()
    (records / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=7\n")
    with pytest.raises(StartError, match=r"(?s)kafka ended while starting.*kafka\.log ends with:.*Stored node id 7"):
        _stack(settings).up(("kafka",), timeout_s=180)


def test_down_without_a_stack_does_nothing(settings: StackSettings) -> None:
    _stack(settings).down()
    assert not settings.state_dir.exists()


def test_an_existing_kafka_is_used_in_place_of_a_broker_of_its_own(running: StackSettings, tmp_path: Path) -> None:
    own, mlflow = free_ports(2)
    variables = {
        "BATON_STATE_DIR": str(tmp_path / "var"),
        "BATON_KAFKA_PORT": str(own),
        "BATON_MLFLOW_PORT": str(mlflow),
        "BATON_KAFKA_BOOTSTRAP": running.kafka_bootstrap,
    }
    settings, said = read_settings(variables), list[str]()
    try:
        _stack(settings, said.append).up(COMPONENTS)
        assert [state.name for state in read_states(settings)] == ["mlflow"]
        assert any(f"the existing one at {running.kafka_bootstrap}" in line for line in said)
        assert f"BATON_KAFKA_BOOTSTRAP={running.kafka_bootstrap}" in settings.environment_file.read_text()
        _stack(settings).down()
    finally:
        end_marked_processes(settings.state_dir, grace_s=0)
    assert answers_metadata({"bootstrap.servers": running.kafka_bootstrap}, timeout_s=30)


def test_an_existing_kafka_that_does_not_answer_is_named_before_anything_starts(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    variables = {"BATON_STATE_DIR": str(tmp_path / "var"), "BATON_KAFKA_BOOTSTRAP": f"127.0.0.1:{nobody}"}
    settings = read_settings(variables)
    with pytest.raises(StartError, match=f"no Kafka answers at 127.0.0.1:{nobody}"):
        _stack(settings).up(COMPONENTS)
    assert read_states(settings) == []
