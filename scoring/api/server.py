"""Serves the API over HTTP: one process, one event loop, uvicorn."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable

import structlog
import uvicorn
from starlette.types import Receive, Scope, Send

from scoring.api.parts import Serving
from scoring.log import library_log
from scoring.settings import Settings
from scoring.worker.clients import Clients
from scoring.worker.readiness import LIVE_WITHIN_S

# Requests in hand get their answers before the process ends.
STOP_PATIENCE_S = 15
KEEP_ALIVE_S = 30
BACKLOG = 2_048
# Connections, which may all be idle; one more is told so.
CONNECTIONS = 8_192
SAY_EVERY_S = 1.0
log = structlog.get_logger()


def listening(address: str, port: int) -> socket.socket:
    """A socket that the processes of this host share: the system gives each connection to one of them.

    Raises:
        OSError: the address is not this host's, or the port is somebody else's.
    """
    # An event loop sends at once on what it knows to be TCP, and waits for more on anything else.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


def serve(
    settings: Settings, bound: socket.socket, say: Callable[[], object] = int, clients: Clients | None = None
) -> None:
    """Serve until told to stop, by SIGTERM or SIGINT.

    Args:
        say: called every second while event loop and scoring thread come round.
    """
    certificate = settings.need_certificate()
    config = uvicorn.Config(
        _nothing_yet,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_PATIENCE_S,
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
    )
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = library_log("http.server").handlers, False
    logger.setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(settings, config, bound, say, clients))


async def _serve(
    settings: Settings,
    config: uvicorn.Config,
    bound: socket.socket,
    say: Callable[[], object],
    clients: Clients | None,
) -> None:
    serving = Serving(settings, asyncio.get_running_loop(), clients)
    config.app = serving.app
    serving.start()
    address, port = bound.getsockname()[:2]
    log.info("api.started", address=address, port=port, models=list(settings.need_models()), tls=config.is_ssl)
    gc.collect()
    gc.freeze()  # what is there now stays; it is never looked at again
    saying = asyncio.create_task(_say(say, serving))
    try:
        await uvicorn.Server(config).serve(sockets=[bound])
    finally:
        saying.cancel()
        log.info("api.stopping")
        await asyncio.to_thread(serving.stop)


async def _say(say: Callable[[], object], serving: Serving) -> None:
    while True:
        if serving.silent_s() < LIVE_WITHIN_S:
            say()
        await asyncio.sleep(SAY_EVERY_S)


async def _nothing_yet(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """In place of the application, which needs the event loop."""
