"""Connections that cannot be held, or filled, by who never asks for anything.

uvicorn bounds neither how large a request's head may grow nor how long it may take, and both cost memory before
anybody has shown a token.
"""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Longer than any client takes, and shorter than an attacker would like.
HEAD_PATIENCE_S = 10.0
HEAD_MAXIMUM_BYTES = 65_536
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
    """

    room = CONNECTIONS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._head_bytes = 0
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a request; only what comes behind the piece in which its head began is counted."""
        before = self._in_head
        super().data_received(data)
        if not self._in_head:
            return
        self._wait_for_a_head()
        if before:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAXIMUM_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Its head is there: what follows has the request's own bounds."""
        self._has_a_head()
        super().on_headers_complete()

    def _wait_for_a_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_PATIENCE_S, self.transport.abort)

    def _has_a_head(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def bounded(room: int) -> type[BoundedProtocol]:
    """The protocol of a server that has room for so many connections."""
    return type("BoundedProtocol", (BoundedProtocol,), {"room": room})
