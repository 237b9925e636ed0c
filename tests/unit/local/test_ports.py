import os
import socket

import pytest

from local.errors import PortBusyError
from local.ports import check_ports_free, free_ports, is_free


def test_a_busy_port_is_named_with_its_holder_and_the_variable_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = {"mlflow": port, "kafka": free_ports(1)[0]}
        with pytest.raises(PortBusyError) as caught:
            check_ports_free(asked)
    message = str(caught.value)
    assert f"port {port} is taken by" in message
    assert f"(pid {os.getpid()})" in message
    assert "BATON_MLFLOW_PORT" in message
    assert "BATON_KAFKA_PORT" not in message


def test_all_busy_ports_are_reported_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        busy = {"mlflow": one.getsockname()[1], "airflow": two.getsockname()[1]}
        with pytest.raises(PortBusyError) as caught:
            check_ports_free(busy)
    assert len(str(caught.value).splitlines()) == 2


def test_a_port_held_on_all_interfaces_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    check_ports_free({str(port): port for port in ports})
