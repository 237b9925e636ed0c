"""A service's small HTTP server: /metrics, /livez and /readyz, on loopback unless told otherwise.

It never stands in the way of the service: a port that is taken is tried again, and of more requests at a time than a
few the oldest are dropped.
"""

import functools
import hmac
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import msgspec
import structlog

PATIENCE_S = 5.0
AT_A_TIME = 8
TRY_AGAIN_S = 15.0
_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
log = structlog.get_logger()

Scrape = Callable[[str], tuple[bytes, str]]
Answer = tuple[HTTPStatus, bytes, str]


class View(Protocol):
    """How a service stands."""

    @property
    def live(self) -> bool:
        """Whether its hot thread comes round."""

    @property
    def silent_s(self) -> float:
        """How long that did not, in seconds."""

    @property
    def ready(self) -> bool:
        """Whether it does all that it should."""

    @property
    def why_not(self) -> tuple[str, ...]:
        """Sentences that say what keeps it from being ready."""

    @property
    def details(self) -> Mapping[str, object]:
        """What else to answer who asks whether it is ready."""


class Endpoint:
    """Runs the server's thread.

    Args:
        scraper: makes, at the first request, what answers /metrics from a request's ``Accept`` header.
        view: how the service stands.
        token: what /metrics asks for as bearer token, and the others for their details; None asks for nothing.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        scraper: Callable[[], Scrape],
        view: Callable[[], View],
        token: str | None = None,
    ) -> None:
        self._place = (address, port)
        self._scraper = functools.cache(scraper)
        self._view = view
        self._token = token
        self._server: _Server | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endpoint", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and let go of the port."""
        self._stopped.set()
        self._thread.join(PATIENCE_S)

    @property
    def port(self) -> int | None:
        """The port that is served; None before there is one."""
        return None if self._server is None else int(self._server.server_address[1])

    def answer(self, path: str, accept: str, authorization: str) -> Answer:
        """What a GET of ``path`` is answered with."""
        allowed = self._token is None or hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())
        match path.partition("?")[0]:
            case "/metrics":
                return self._metrics(accept) if allowed else (HTTPStatus.UNAUTHORIZED, b"no token\n", _TEXT)
            case "/livez":
                view = self._view()
                return _judged(good=view.live, details={"live": view.live, "silent_s": view.silent_s}, shown=allowed)
            case "/readyz":
                view = self._view()
                details = {"ready": view.ready, "why_not": view.why_not, **view.details}
                return _judged(good=view.ready, details=details, shown=allowed)
        return HTTPStatus.NOT_FOUND, b"there are /metrics, /livez and /readyz\n", _TEXT

    def _metrics(self, accept: str) -> Answer:
        body, kind = self._scraper()(accept)
        return HTTPStatus.OK, body, kind

    def _run(self) -> None:
        said = False
        while not self._stopped.is_set():
            try:
                self._server = _Server(self._place, self.answer)
            except (OSError, OverflowError) as error:  # taken, not this host's, or no port at all
                if not said:
                    log.warning("metrics.unavailable", address=self._place[0], port=self._place[1], error=str(error))
                said = True
                self._stopped.wait(TRY_AGAIN_S)
                continue
            log.info("metrics.served", address=self._place[0], port=self.port)
            with self._server:
                while not self._stopped.is_set():
                    self._server.handle_request()
            return


def _judged(*, good: bool, details: dict[str, object], shown: bool) -> Answer:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    if not shown:
        return status, b"ok\n" if good else b"no\n", _TEXT
    return status, msgspec.json.encode(details) + b"\n", _JSON


class _Server(ThreadingHTTPServer):
    """A server of few connections at a time. One more ends the oldest: who dawdles keeps nobody else out."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    timeout = 0.25  # how long a wait for a connection takes

    def __init__(self, place: tuple[str, int], answer: Callable[[str, str, str], Answer]) -> None:
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.answer = answer
        self._open: deque[socket.socket] = deque()
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for this host's name, as the base class would."""
        socket_options = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(*socket_options)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more connection; its own thread closes what is ended here."""
        while len(self._open) >= AT_A_TIME:
            with suppress(OSError, IndexError):  # it may be closed just now
                self._open.popleft().shutdown(socket.SHUT_RDWR)
        self._open.append(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See the base class; then there is room again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with suppress(ValueError):  # another one took its place
                self._open.remove(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that goes away is no event; anything else is said in our own way, not on standard error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.warning("metrics.request_failed", error=f"{type(error).__name__}: {error}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "baton"
    sys_version = ""
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        """Answer one request."""
        headers = self.headers
        status, body, kind = self.server.answer(self.path, headers.get("Accept", ""), headers.get("Authorization", ""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Bearer realm="baton"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: a scrape every few seconds is no event."""
