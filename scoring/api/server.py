"""Serves the API over HTTP: one process, one event loop, uvicorn."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
import uvicorn
from starlette.types import Receive, Scope, Send

from scoring.api.connection import bounded, room_for_connections
from scoring.api.intake import Intake
from scoring.api.parts import Serving
from scoring.contract.errors import ConfigurationError
from scoring.log import library_log
from scoring.service.watchdog import Watchdog
from scoring.settings import Settings
from scoring.worker.clients import Clients
from scoring.worker.readiness import LIVE_WITHIN_S

# Requests in hand get their answers before the process ends.
STOP_PATIENCE_S = 15
KEEP_ALIVE_S = 30
BACKLOG = 2_048
BEAT_EVERY_S = 1.0
# The event loop takes up one connection of each in a turn, and under load a turn takes milliseconds.
SOCKETS = 16
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


def certificate_of(settings: Settings) -> tuple[Path, Path] | None:
    """The files of the certificate to show and of its key; None where plain HTTP is spoken.

    Raises:
        ConfigurationError: there is one of the two alone, or a file is not there.
    """
    found = {"BATON_API_CERTIFICATE": settings.api_certificate, "BATON_API_KEY": settings.api_key}
    if not any(found.values()):
        return None
    wrong = [f"{name} is not set, but the other one is" for name, path in found.items() if path is None]
    wrong += [f"{name}: there is no file {path}" for name, path in found.items() if path and not path.is_file()]
    if wrong or settings.api_certificate is None or settings.api_key is None:
        raise ConfigurationError("; ".join(wrong))
    return settings.api_certificate, settings.api_key


def serve(
    settings: Settings, bound: socket.socket, say: Callable[[], None] = lambda: None, clients: Clients | None = None
) -> None:
    """Serve until told to stop, by SIGTERM or SIGINT.

    Args:
        say: called every second while event loop and scoring thread come round.
    """
    certificate = certificate_of(settings)
    config = uvicorn.Config(
        _nothing_yet,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
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
    say: Callable[[], None],
    clients: Clients | None,
) -> None:
    serving = Serving(settings, asyncio.get_running_loop(), clients)
    config.app = serving.app
    config.http = bounded(room_for_connections(), serving.app.at_once, Intake(asyncio.get_running_loop()))
    serving.start()
    address, port = bound.getsockname()[:2]
    sockets = [bound, *(listening(address, port) for _ in range(SOCKETS - 1))]
    log.info("api.started", address=address, port=port, models=list(settings.need_models()), tls=config.is_ssl)
    gc.collect()
    gc.freeze()  # what is there now stays; it is never looked at again
    watchdog = Watchdog(event="api.must_exit", limit_s=settings.hang_limit_s, say=say)
    watchdog.start()
    beating = asyncio.create_task(_beat(watchdog, serving))
    try:
        await uvicorn.Server(config).serve(sockets=sockets)
    finally:
        beating.cancel()
        watchdog.stop()
        log.info("api.stopping")
        with ThreadPoolExecutor(1, "stop") as own:  # it never waits for a thread that something else holds
            await asyncio.get_running_loop().run_in_executor(own, serving.stop)


async def _beat(watchdog: Watchdog, serving: Serving) -> None:
    """The event loop comes round, and so does the scoring thread."""
    while True:
        if serving.silent_s() < LIVE_WITHIN_S:
            watchdog.beat()
        await asyncio.sleep(BEAT_EVERY_S)


async def _nothing_yet(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """In place of the application, which needs the event loop."""
