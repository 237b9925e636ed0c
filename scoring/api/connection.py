"""Connections that cannot be held, or filled, by who never asks for anything, and refusals that cost next to nothing.

uvicorn bounds neither how large a request's head may grow nor how long it may take, and both cost memory before
anybody has shown a token. And it makes a task for every request, which takes longer than to see that there is no room
for it.
"""

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from scoring.api.entrance import OPEN_PATHS
from scoring.api.intake import Intake

AtOnce = Callable[[Scope, float], Response | None]
# Longer than any client takes, and shorter than an attacker would like.
HEAD_PATIENCE_S = 10.0
HEAD_MAXIMUM_BYTES = 65_536
# Longer than the slowest client takes to read what is written before more is.
READING_PATIENCE_S = 30.0
# Who only has much to do must not be taken for dead.
_PROBES = tuple(f"GET {path} ".encode() for path in OPEN_PATHS)
# Of a process, also idle ones: what they take stays well below what its micro-batches take.
CONNECTIONS = 8_192
# Descriptors for everything else: files, the broker, the database, processes that fetch and explain.
RESERVED_DESCRIPTORS = 256


def room_for_connections(most: int = CONNECTIONS) -> int:
    """How many connections there may be: as many as this process can have descriptors for, beside its own.

    Where none is left no connection is taken up any more, no probe's either, and no bundle can be fetched. The usual
    soft limit (1,024) is far below the hard one; it is raised as far as is needed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + RESERVED_DESCRIPTORS
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        soft = wanted if hard == unlimited else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == unlimited else max(1, min(most, soft - RESERVED_DESCRIPTORS))


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound to a request's head, in time and size, and to the number of connections.

    Attributes:
        room: for so many connections at a time.
        at_once: the answer to a request that its head alone decides; it is written before anything waits for it.
        intake: where requests wait for their turn.
    """

    room = CONNECTIONS
    at_once: AtOnce
    intake: Intake

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = self._in_message = self._begun = False
        self._head_bytes = 0
        self._came_s = 0.0
        self._waiting = 0
        self._ending = False
        self._answering: RequestResponseCycle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """One more; the oldest stay."""
        super().connection_made(transport)
        if len(self.connections) > self.room:
            transport.abort()
            return
        self._wait_for_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._has_a_head()
        self.resume_writing()
        if self._answering is not None:  # uvicorn tells it to the last request that was read, which may wait behind
            self._answering.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a request, which goes on, or a new one, which has to wait for its turn."""
        may_go_on = self._in_message or self.intake.has_room(len(data), probe=data.startswith(_PROBES))
        if may_go_on and not self._waiting:
            self._read(data, time.perf_counter())
            return
        self._waiting += 1
        self._unset_keepalive_if_required()
        self.transport.pause_reading()
        self.intake.wait(self, data)

    def take_up(self, data: bytes, came_s: float) -> None:
        """Its turn has come."""
        self._waiting -= 1
        if not self.transport.is_closing():
            self._read(data, came_s)
        if self._ending:
            self.shutdown()
        if not (self._waiting or self.flow.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Much of what was written is not read; a request that has more to tell waits for that, in hand."""
        super().pause_writing()
        self._unread = self.loop.call_later(READING_PATIENCE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It is read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more is asked for. Where the last answer was not read either, to close would be to wait for that."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """The server ends; what waits for its turn has it before."""
        self._ending = True
        if not self._waiting:
            super().shutdown()

    def _read(self, data: bytes, came_s: float) -> None:
        """Go on with the request; only what comes behind the piece in which its head began is counted."""
        self._came_s, self._begun = came_s, False
        super().data_received(data)
        if not self._in_head:
            self._wait_for_another()
            return
        self._wait_for_a_head()
        if not self._begun:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAXIMUM_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = self._in_message = self._begun = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Its head is there: what follows has the request's own bounds."""
        self._has_a_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._in_message = False
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Who asks for another protocol is answered in this one, and then no more.

        The parser takes whatever follows the head for the other protocol: the body, which could be read as a request.
        """
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():  # the one before it was the last
            cycle.response_complete = True
            return
        # What waits behind another request of its connection has its task: one would call the next, without end. So has
        # what is asked by who does not read the answers: the task waits for that, and nothing more is read meanwhile.
        waits = self.pipeline or self.flow.write_paused
        answer = None if waits else self.at_once(cast(Scope, cycle.scope), self._came_s)
        if answer is None:
            self._answering = cycle
            super()._start_asgi_task(cycle, app)
            return
        closing = not cycle.keep_alive or (b"connection", b"close") in answer.raw_headers
        head = _head(answer, cycle.default_headers, closing=closing)
        self.transport.write(head if cycle.scope["method"] == "HEAD" else head + bytes(answer.body))
        cycle.response_started = cycle.response_complete = True  # what comes of its body is passed over
        if closing:
            self.transport.close()
        self.on_response_complete()

    def _wait_for_another(self) -> None:
        """uvicorn does so from an answer on, and no longer once anything came behind it: an empty line, or a body."""
        ends_anyhow = self._patience or self.timeout_keep_alive_task or self.transport.is_closing()
        if not ends_anyhow and self.cycle.response_complete:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _wait_for_a_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_PATIENCE_S, self.transport.abort)

    def _has_a_head(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _head(answer: Response, always: Sequence[tuple[bytes, bytes]], *, closing: bool) -> bytes:
    told = [*always, *answer.raw_headers]
    if closing and (b"connection", b"close") not in told:
        told.append((b"connection", b"close"))
    return STATUS_LINE[answer.status_code] + b"".join(b"%b: %b\r\n" % header for header in told) + b"\r\n"


def bounded(room: int, at_once: AtOnce, intake: Intake) -> type[BoundedProtocol]:
    """The protocol of a server that has room for so many connections."""
    parts = {"room": room, "at_once": staticmethod(at_once), "intake": intake}
    return type("BoundedProtocol", (BoundedProtocol,), parts)
