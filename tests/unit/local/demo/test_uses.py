"""What the demonstration asks of the API: it waits for a slow machine, and for nothing else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from local.demo.uses import UseFailed, ask


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[Any, list[dict[str, str]]]]:
    """A stage whose API gives these answers, one after the other; what it was asked with."""
    left, asked = list(statuses), list[dict[str, str]]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(dict(self.headers))
            self.send_response(left.pop(0))
            self.end_headers()
            self.wfile.write(b'{"version": "2"}')

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        local = SimpleNamespace(api_url=f"http://127.0.0.1:{server.server_port}")
        try:
            yield SimpleNamespace(local=local, definition=SimpleNamespace(name="small")), asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_API_TOKEN", "a-token")


def test_what_is_worth_asking_again_is_asked_again() -> None:
    with answering(503, 504, 429, 200) as (stage, asked):
        assert ask(stage, b"{}") == {"version": "2"}
    assert [each["X-Request-Deadline-Ms"] for each in asked] == ["10000"] * 4


def test_what_stays_wrong_is_told_at_once() -> None:
    with answering(422) as (stage, asked), pytest.raises(UseFailed, match="the API answers 422"):
        ask(stage, b"{}")
    assert len(asked) == 1
