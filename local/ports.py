"""Is a port free, and if not, who holds it."""

import socket
import time
from collections.abc import Mapping

import psutil

from local.errors import PortBusyError
from local.settings import Ports


def check_ports_free(ports: Mapping[str, int], *, patience_s: float = 0.0) -> None:
    """Raise PortBusyError that lists every port of ``ports`` (by name) on which somebody listens.

    A process that was just killed may hold its port for a moment longer: ``patience_s`` waits for that.
    """
    deadline = time.monotonic() + patience_s
    while busy := {name: port for name, port in ports.items() if not is_free(port)}:
        if time.monotonic() < deadline:
            time.sleep(0.05)
            continue
        raise PortBusyError("\n".join(_describe(name, port) for name, port in busy.items()))


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """``count`` different ports that were free a moment ago; another process may still take one."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def holder(port: int) -> str | None:
    """Name and pid of the process that listens on ``port``, where the system tells."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.pid and _port_of(connection.laddr) == port:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None


def _port_of(address: object) -> int | None:
    return getattr(address, "port", None)  # an unbound socket has none


def _describe(name: str, port: int) -> str:
    by = holder(port) or "a process that cannot be seen from here"
    return f"port {port} is taken by {by}; end it, or set {Ports.variable(name)} to another port"
