"""Who never asks for anything holds no connection and fills no memory."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from scoring.api import connection
from tests.support.serving import Served, records, scores_of, wait_until

PATH = "/v1/models/small/score"


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), 10) as made:
        yield made


def ended(made: socket.socket) -> bool:
    """Whether the other side ends it, whatever it still says; waits for that."""
    with suppress(ConnectionResetError):
        while made.recv(65_536):
            pass
    return True


@pytest.mark.parametrize("start", [b"", b"POST /v1/models/small/score HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_dawdles_ends_its_connection(served: Served, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE_S", 0.1)
    with connected(served) as slow:
        slow.sendall(start)
        assert ended(slow)
    wait_until(lambda: not served.connections())


def test_so_does_one_that_dawdles_behind_a_request_that_was_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE_S", 0.1)
    with connected(served) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200 ")
        slow.sendall(b"GET /livez HTTP/1.1\r\nHos")
        assert ended(slow)


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX-Endless: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_without_end_ends_its_connection(served: Served, start: bytes) -> None:
    more = b"x" * 16_384 if not start.endswith(b"\n") else b"X-Many: x\r\n" * 1_500
    with connected(served) as endless:
        endless.sendall(start)
        with suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(100):
                endless.sendall(more)
            assert ended(endless)
    with served.client() as client:
        assert scores_of(client.post(PATH, json=records(0)))


def test_a_large_body_is_no_large_head(served: Served) -> None:
    with served.client() as client:
        for _ in range(3):
            assert len(scores_of(client.post(PATH, json=records(*range(1_000))))) == 1_000


def test_one_connection_more_than_there_may_be_is_ended(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.BoundedProtocol, "room", 2)
    with served.client() as client, connected(served):
        assert client.get("/livez").status_code == 200
        with connected(served) as third:
            assert ended(third)
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/livez", "", b"200"), ("/v1/models", "", b"401"), ("/v1/models", "both", b"200"), (PATH, "reader", b"403")],
)
def test_a_body_that_nobody_asked_for_is_not_read_to_its_end(
    served: Served, path: str, token: str, status: bytes
) -> None:
    method = "POST" if path == PATH else "GET"
    shown = f"Authorization: Bearer {getattr(served, token)}\r\n" if token else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{shown}Transfer-Encoding: chunked\r\n\r\n"
    with connected(served) as endless:
        endless.sendall(head.encode() + b"5\r\nhello\r\n")
        assert endless.recv(65_536).startswith(b"HTTP/1.1 " + status)
        assert ended(endless)


def test_there_is_room_for_as_many_connections_as_there_are_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, asked = [(1_024, 1_024)], list[tuple[int, int]]()
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, wanted: asked.append(wanted))
    beside = connection.RESERVED_DESCRIPTORS
    for limit, room, raised in (
        ((1_024, 1_024), 1_024 - beside, (1_024, 1_024)),
        ((1_024, 524_288), 8_192, (8_192 + beside, 524_288)),
        ((1_024, resource.RLIM_INFINITY), 8_192, (8_192 + beside, resource.RLIM_INFINITY)),
        ((65_536, 65_536), 8_192, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 8_192, None),
        ((100, 100), 1, (100, 100)),
    ):
        limits.append(limit)
        asked.clear()
        assert connection.room_for_connections() == room
        assert asked == ([] if raised is None else [raised])
