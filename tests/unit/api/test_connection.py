"""Who never asks for anything holds no connection and fills no memory."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx
import msgspec
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scoring.api import connection
from scoring.api.entrance import Entrance
from tests.support.serving import Held, Served, records, scores_of, wait_until

PATH = "/v1/models/small/score"


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), 60) as made:
        yield made


def ended(made: socket.socket) -> bool:
    """Whether the other side ends it, whatever it still says; waits for that."""
    with suppress(ConnectionResetError):
        while made.recv(65_536):
            pass
    return True


@pytest.mark.parametrize("start", [b"", b"POST /v1/models/small/score HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_dawdles_ends_its_connection(served: Served, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE_S", 1.0)
    with connected(served) as slow:
        slow.sendall(start)
        assert ended(slow)
    wait_until(lambda: not served.connections())


def test_so_does_one_that_dawdles_behind_a_request_that_was_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE_S", 1.0)
    with connected(served) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200 ")
        slow.sendall(b"GET /livez HTTP/1.1\r\nHos")
        assert ended(slow)


@pytest.mark.parametrize(("asked", "behind"), [(b"GET /livez", b"\r\n"), (b"POST /v1/models/small/score", b"x" * 10)])
def test_so_does_one_that_asks_for_nothing_more_whatever_comes_behind_its_answer(
    served: Served, monkeypatch: pytest.MonkeyPatch, asked: bytes, behind: bytes
) -> None:
    monkeypatch.setattr(served._server.config, "timeout_keep_alive", 0.2)
    with connected(served) as idle:
        length = b"" if asked.startswith(b"GET") else b"Content-Length: 10\r\n"
        idle.sendall(asked + b" HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n")
        assert answers(idle, 1)
        idle.sendall(behind)
        assert ended(idle)


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


def test_one_connection_more_than_there_may_be_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.BoundedProtocol, "room", 2)
    monkeypatch.setattr(connection, "HEAD_PATIENCE_S", 600.0)  # nothing else may end it
    with Served(tmp_path) as served, served.client() as client, connected(served):
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


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(("token", "status"), [("both", 400), ("reader", 403)])
def test_the_body_of_who_asks_for_another_protocol_is_no_request(
    served: Served, pieces: int, token: str, status: int
) -> None:
    body = request(PATH, served.both, body=msgspec.json.encode(records(0)))
    asked = request(PATH, getattr(served, token), body=body)
    asked = asked.replace(b"Host: x", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c", 1)
    with connected(served) as made:
        for piece in [asked] if pieces == 1 else [asked[: -len(body)], body]:
            made.sendall(piece)
            if piece is not body:
                ((told, _, problem),) = answers(made, 1)
                assert told == status
                assert status != 400 or b"send no Upgrade header" in problem
        assert ended(made)
    assert served.metrics.requests == {("score", str(status)): 1}


def request(path: str, token: str, *, body: bytes = b"{}") -> bytes:
    headers = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n"
    return head.encode() + body


def answers(made: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of the next answers of a connection."""
    with made.makefile("rb") as stream:
        return [_answer(stream) for _ in range(count)]


def _answer(stream: BinaryIO) -> tuple[int, dict[str, str], bytes]:
    status = int(stream.readline().split()[1])
    lines = iter(lambda: stream.readline().strip(), b"")
    headers = {name.lower(): value for name, value in (line.decode().split(": ", 1) for line in lines)}
    return status, headers, stream.read(int(headers["content-length"]))


def test_a_refusal_by_the_head_alone_leaves_the_connection_as_it_was(served: Served) -> None:
    refused = request(PATH, "nobody", body=b"x" * 50_000)
    with connected(served) as made:
        for _ in range(3):
            made.sendall(refused[:1_000])
            ((status, headers, body),) = answers(made, 1)
            assert (status, headers["content-type"]) == (401, "application/problem+json")
            assert "date" in headers
            assert b"no-token" in body
            made.sendall(refused[1_000:])
            made.sendall(request(PATH, served.both, body=msgspec.json.encode(records(0))))
            assert [status for status, _, _ in answers(made, 1)] == [200]


def test_nothing_is_made_for_a_request_that_is_refused_by_its_head(served: Served) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a task was made")

    with connected(served) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpToolsProtocol, "_start_asgi_task", never)
        made.sendall(request(PATH, "nobody"))
        assert [status for status, _, _ in answers(made, 1)] == [401]


def test_what_nobody_expected_at_the_entrance_is_told_and_logged(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("nobody expected this")

    monkeypatch.setattr(Entrance, "_authorise", fail)
    with connected(served) as made:
        made.sendall(request(PATH, served.both))
        ((status, _, body),) = answers(made, 1)
        assert (status, msgspec.json.decode(body)["type"]) == (500, "urn:baton:problem:internal")
        monkeypatch.undo()
        made.sendall(request(PATH, served.both, body=msgspec.json.encode(records(0))))
        assert [status for status, _, _ in answers(made, 1)] == [200]
    assert "nobody expected this" in "".join(capsys.readouterr())


def test_a_length_with_zeros_before_it_is_a_length(served: Served) -> None:
    good = request(PATH, served.both, body=msgspec.json.encode(records(0)))
    with connected(served) as made:
        made.sendall(good.replace(b"Content-Length: ", b"Content-Length: " + b"0" * 5_000))
        assert [status for status, _, _ in answers(made, 1)] == [200]


def test_what_is_refused_by_its_head_is_counted_and_names_its_request(served: Served) -> None:
    with served.client() as client:
        for _ in range(3):
            answer = client.post(PATH, json=records(0), headers={"Authorization": "", "X-Request-ID": "r-1"})
            assert (answer.status_code, answer.headers["x-request-id"]) == (401, "r-1")
    assert served.metrics.problems["no-token"] == 3


def test_a_refusal_of_a_head_request_has_no_body(served: Served) -> None:
    with connected(served) as made:
        made.sendall(b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        with made.makefile("rb") as stream:
            assert stream.readline().startswith(b"HTTP/1.1 401 ")
            lengths = [line for line in iter(stream.readline, b"\r\n") if line.startswith(b"content-length: ")]
            assert int(lengths[0].split()[1]) > 0
            assert stream.readline().startswith(b"HTTP/1.1 200 ")


def test_a_refusal_ends_a_connection_that_is_not_to_be_kept(served: Served) -> None:
    with connected(served) as made:
        made.sendall(request(PATH, "nobody").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        ((status, headers, _),) = answers(made, 1)
        assert (status, headers["connection"]) == (401, "close")
        assert ended(made)


def test_nothing_is_scored_behind_a_refusal_that_ends_its_connection(served: Served) -> None:
    last = b"POST /v1/models/small/score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    good = request(PATH, served.both, body=msgspec.json.encode(records(0)))
    with connected(served) as made:
        made.sendall(last + good * 3)
        assert [status for status, _, _ in answers(made, 1)] == [401]
        assert ended(made)
    with served.client() as client:
        assert scores_of(client.post(PATH, json=records(0)))
    assert served.metrics.requests == {("score", "401"): 1, ("score", "200"): 1}
    assert served.service.hand.requests == 0


def test_requests_on_end_are_answered_in_their_order_whoever_is_refused(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held, api_deadline_ms=60_000) as served:
        served.promote()
        good = request(PATH, served.both, body=msgspec.json.encode(records(0)))
        bad = request(PATH, "nobody")
        with connected(served) as made:
            made.sendall(good + bad * 2_000 + good)  # far more than calls may lie within each other
            wait_until(lambda: served.service.hand.requests >= 1)
            held.go_on.set()
            assert [status for status, _, _ in answers(made, 2_002)] == [200, *[401] * 2_000, 200]


def test_refusals_that_nobody_reads_do_not_fill_the_memory(served: Served) -> None:
    refused = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000
    with connected(served) as deaf:
        deaf.settimeout(0.3)
        with suppress(TimeoutError):
            for _ in range(1_000):
                deaf.sendall(refused)
        (found,) = served.connections()
        assert found.transport.get_write_buffer_size() < 2**20
        assert not found.transport.is_reading()


def test_who_goes_away_with_several_requests_under_way_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = Held()
    with Served(tmp_path, lookups=held, api_deadline_ms=60_000) as served:
        served.promote()
        with connected(served) as made:
            made.sendall(request(PATH, served.both, body=msgspec.json.encode(records(0))) * 3)
            wait_until(lambda: served.service.hand.records)
        wait_until(lambda: not served.connections())
        held.go_on.set()
        wait_until(lambda: not served.service.hand.requests)
    assert "request.failed" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("goes_on", [True, False])
def test_who_does_not_read_the_answers_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    monkeypatch.setattr(connection, "READING_PATIENCE_S", 0.2 if goes_on else 1_000)
    monkeypatch.setattr(served._server.config, "timeout_keep_alive", 1_000 if goes_on else 0.2)
    with connected(served) as deaf:
        wait_until(served.connections)
        (found,) = served.connections()

        def unread() -> bool:
            return bool(found.flow.write_paused if goes_on else found.transport.get_write_buffer_size())

        def taken_up() -> bool:
            return not served.connections() or found.flow.write_paused or served.metrics.problems["no-token"] == asked

        asked = 0
        with suppress(ConnectionResetError, BrokenPipeError):
            while served.connections() and not unread():
                deaf.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * (500 if goes_on else 50))
                asked += 500 if goes_on else 50
                wait_until(taken_up)
        wait_until(lambda: not served.connections())


def test_more_than_a_turn_takes_up_is_answered_all_the_same(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.intake, "_a_turn", 1)
    good = request(PATH, served.both, body=msgspec.json.encode(records(*range(300))))
    with ExitStack() as stack:
        several = [stack.enter_context(connected(served)) for _ in range(40)]
        for _ in range(3):
            for made in several:
                made.sendall(good)
            for made in several:
                ((status, _, body),) = answers(made, 1)
                assert (status, len(msgspec.json.decode(body)["predictions"])) == (200, 300)


def test_who_goes_away_before_its_turn_keeps_nobody_waiting_and_a_probe_has_none(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = served.intake._turn
    monkeypatch.setattr(served.intake, "_turn", lambda: None)  # nobody's turn ever comes
    monkeypatch.setattr(served.intake, "_a_turn", 0)
    with connected(served) as gone, connected(served) as stays:
        gone.sendall(request(PATH, served.both))
        stays.sendall(request(PATH, "nobody"))
        wait_until(lambda: len(served.intake._waiting) == 2)
        with connected(served) as probe:
            probe.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert [status for status, _, _ in answers(probe, 1)] == [200]
        gone.close()
        monkeypatch.undo()
        served.intake._loop.call_soon_threadsafe(turn)
        assert [status for status, _, _ in answers(stays, 1)] == [401]


def test_who_waits_for_its_turn_is_not_idle(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = served.intake._turn
    with connected(served) as made:
        made.sendall(request(PATH, "nobody"))
        assert [status for status, _, _ in answers(made, 1)] == [401]
        (found,) = served.connections()
        wait_until(lambda: found.timeout_keep_alive_task is not None)
        monkeypatch.setattr(served.intake, "_turn", lambda: None)
        monkeypatch.setattr(served.intake, "_a_turn", 0)
        made.sendall(request(PATH, "nobody"))
        wait_until(lambda: served.intake._waiting)
        wait_until(lambda: found.timeout_keep_alive_task is None)
        monkeypatch.undo()
        served.intake._loop.call_soon_threadsafe(turn)
        assert [status for status, _, _ in answers(made, 1)] == [401]
        wait_until(lambda: found.timeout_keep_alive_task is not None)


def test_who_waits_for_its_turn_is_answered_before_the_server_ends(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = served.intake._turn
    monkeypatch.setattr(served.intake, "_turn", lambda: None)
    monkeypatch.setattr(served.intake, "_a_turn", 0)
    good = request(PATH, served.both, body=msgspec.json.encode(records(0)))
    with connected(served) as idle, connected(served) as scored, connected(served) as refused:
        scored.sendall(good)
        refused.sendall(request(PATH, "nobody"))
        wait_until(lambda: len(served.intake._waiting) == 2)
        served.stop()
        assert ended(idle)
        monkeypatch.undo()
        served.intake._loop.call_soon_threadsafe(turn)
        for made, status in ((scored, 200), (refused, 401)):
            assert [told for told, _, _ in answers(made, 1)] == [status]
            assert ended(made)


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
