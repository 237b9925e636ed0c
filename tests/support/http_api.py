"""An HTTP API on loopback that pages in every way, limits its rate, and fails and misbehaves as it is told to."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from scoring.sources.clock import Clock

NOW = datetime(2024, 3, 1, tzinfo=UTC)


class SteppedClock:
    """Time that passes only where somebody sleeps.

    Attributes:
        slept: how long, each time.
    """

    def __init__(self) -> None:
        self.s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.s += seconds

    @property
    def clock(self) -> Clock:
        """It as the client takes it, without chance."""
        return Clock(
            s=lambda: self.s, sleep=self.sleep, now=lambda: NOW + timedelta(seconds=self.s), jitter=lambda: 1.0
        )


Fault = Callable[["Handler"], None]


class HttpApi:
    """What the server has, and how it behaves.

    Attributes:
        paging: ``none``, ``next``, ``link``, ``cursor``, ``page`` or ``offset``.
        faults: what it does instead of answering, by the number of the request.
        rate_per_s: sooner requests are answered with 429, by the time of ``clock``.
        authorization: without this header it lets nobody in.
        asked: path with query of every request, in order.
    """

    def __init__(self, items: Sequence[Any], paging: str = "none", page_items: int = 30) -> None:
        self.items = list(items)
        self.paging = paging
        self.page_items = page_items
        self.faults: dict[int, Fault] = {}
        self.rate_per_s: float | None = None
        self.clock = SteppedClock()
        self.authorization: str | None = None
        self.next_host = ""
        self.asked: list[str] = []
        self.url = ""
        self.ending = Event()
        self._free_at_s = 0.0

    @contextmanager
    def served(self) -> Iterator["HttpApi"]:
        """Listens on a free port of loopback."""
        api = self

        class Bound(Handler):
            of = api

        with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                self.ending.set()
                server.shutdown()
                thread.join()

    def fault_of(self, path: str) -> Fault | None:  # noqa: ARG002  for servers that tell their paths apart
        """What it does instead of answering this request."""
        return self.faults.get(len(self.asked))

    def must_wait_s(self) -> float:
        """How long until it takes another request."""
        if self.rate_per_s is None:
            return 0.0
        wait_s = self._free_at_s - self.clock.s
        if wait_s <= 1e-9:
            self._free_at_s = self.clock.s + 1.0 / self.rate_per_s
            return 0.0
        return wait_s

    def page(self, query: dict[str, str]) -> tuple[dict[str, Any], str | None]:
        """The body and the next link of an answer."""
        first = self._first(query)
        size = len(self.items) if self.paging == "none" else int(query.get("limit", self.page_items))
        size = min(size, self.page_items) if self.paging != "none" else size
        body: dict[str, Any] = {"data": {"items": self.items[first : first + size]}}
        if first + size >= len(self.items):
            return body, None
        following = f"{self.next_host}/v1/trips?{urlencode({**query, 'at': str(first + size)})}"
        if self.paging == "next":
            body["paging"] = {"next": following}
        if self.paging == "cursor":
            body["after"] = first + size
        return body, following if self.paging == "link" else None

    def _first(self, query: dict[str, str]) -> int:
        match self.paging:
            case "page":
                return (int(query["page"]) - 1) * self.page_items
            case "offset":
                return int(query["offset"])
            case "cursor":
                return int(query.get("after", "0"))
            case _:
                return int(query.get("at", "0"))


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other."""

    of: HttpApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Count it, and answer, or do what the fault says."""
        self.of.asked.append(self.path)
        fault = self.of.fault_of(self.path)
        wait_s = self.of.must_wait_s()
        if fault is not None:
            fault(self)
        elif wait_s > 0:
            self.answer(b"slow down", 429, [("Retry-After", str(math.ceil(wait_s)))])
        elif self.of.authorization not in {None, self.headers["authorization"]}:
            self.answer(b"who are you? I was sent " + str(self.headers).encode(), 401)
        else:
            body, link = self.of.page(dict(parse_qsl(urlsplit(self.path).query)))
            headers = [("Link", f'<{link}>; rel="next"')] if link else []
            self.answer(json.dumps(body).encode(), 200, headers)

    def answer(
        self, body: bytes, status: int = 200, headers: Sequence[tuple[str, str]] = (), kind: str = "application/json"
    ) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(body))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Keep quiet."""


def status(code: int, *headers: tuple[str, str]) -> Fault:
    """Answers with a status."""
    return lambda handler: handler.answer(b"{}", code, headers)


def body(content: bytes, kind: str = "application/json") -> Fault:
    """Answers with something else."""
    return lambda handler: handler.answer(content, 200, (), kind)


def hang_up(handler: Handler) -> None:
    """Closes the connection before it answers."""
    handler.close_connection = True


def dawdle(handler: Handler) -> None:
    """Lets two hours pass in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Length", "4")
    handler.end_headers()
    handler.wfile.write(b"[ ")
    handler.of.clock.s += 7200.0
    handler.wfile.write(b" ]")


def stall(handler: Handler) -> None:
    """Says nothing until the server ends."""
    handler.of.ending.wait(60)
    handler.close_connection = True


def cut(handler: Handler) -> None:
    """Closes the connection in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": {"items": [')
    handler.close_connection = True
