"""The life of one process of the API, and of the supervisor of several."""

import os
import socket
import threading
from functools import partial
from typing import NoReturn

import msgspec
import structlog

from scoring.api.parts import process_id
from scoring.api.server import certificate_of, listening, serve
from scoring.api.tokens import read_tokens
from scoring.contract.decoding import decodable
from scoring.contract.errors import ConfigurationError
from scoring.log import configure_logging, identify
from scoring.service.ending import EXIT_AGAIN, exit_with_the_thread, leave
from scoring.service.options import check_options
from scoring.service.stop import Stop, stop_on_signals
from scoring.service.systemd import notifier
from scoring.settings import Settings
from scoring.worker.lifeline import Post
from scoring.worker.slot import hold_slot
from scoring.worker.supervisor import RestartPolicy, Supervisor, WorkerProcess
from scoring.worker.surrounding import Surrounding

log = structlog.get_logger()


class ApiPost(Post, frozen=True, kw_only=True):
    """Where a supervisor puts a process of the API."""

    address: str
    port: int


decodable(ApiPost)


def live(settings: Settings, surrounding: Surrounding | None = None) -> NoReturn:
    """Serve until told to stop, and end this process: with status 0, or 70 for a fresh one to start.

    Raises:
        ConfigurationError: settings are missing or wrong, all of which it lists; the slot or the port is taken.
    """
    configure_logging(settings.log_format)
    check(settings)
    around = surrounding or Surrounding()
    identify(api=process_id(settings))
    slot = hold_slot(settings.need_cache_dir(), process_id(settings))
    bound = _bound(settings)
    threading.excepthook = partial(exit_with_the_thread, event="api.must_exit")
    try:
        with stop_on_signals(Stop()):  # the server takes signals over, and repeats them when it has ended
            serve(settings, bound, say=around.say)
    except ConfigurationError:
        raise
    except Exception:  # an unknown state
        log.critical("api.must_exit", exc_info=True)
        leave(EXIT_AGAIN)
    finally:
        slot.release()
    leave(0)


def check(settings: Settings) -> None:
    """Ask for everything that the API needs.

    Raises:
        ConfigurationError: lists everything that is missing or wrong.
    """
    settings.check_api(
        partial(check_options, settings),
        partial(certificate_of, settings),
        lambda: read_tokens(settings.need_tokens_file()) if settings.api_tokens_file else None,
    )


def supervise(settings: Settings) -> int:
    """Keep ``settings.api_processes`` processes running until told to stop; returns the exit status.

    Raises:
        ConfigurationError: settings are missing or wrong, all of which it lists; or the port is taken.
    """
    check(settings)
    configure_logging(settings.log_format)
    slots = range(settings.slot, settings.slot + settings.api_processes)
    identify(supervisor=f"{process_id(settings)}+{len(slots)}")
    reserved = _bound(settings)  # never listened on: it keeps the port, and tells which one where any would do
    post = ApiPost(
        deployment=settings.deployment,
        slot=settings.slot,
        models=settings.need_models(),
        supervisor=os.getpid(),
        lifeline=-1,
        address=settings.api_address,
        port=reserved.getsockname()[1],
    )
    supervisor = Supervisor(
        slots,
        spawn=lambda slot, restarts: WorkerProcess(
            msgspec.structs.replace(post, slot=slot, restarts=restarts), "scoring.api.child"
        ),
        stop=(stop := Stop()),
        hang_limit_s=settings.hang_limit_s,
        policy=RestartPolicy(limit=settings.restart_limit),
        notifier=notifier(),
    )
    with reserved, stop_on_signals(stop):
        return supervisor.run()


def _bound(settings: Settings) -> socket.socket:
    try:
        return listening(settings.api_address, settings.api_port)
    except OSError as error:
        place = f"{settings.api_address}, port {settings.api_port}"
        raise ConfigurationError(f"BATON_API_PORT: {place} cannot be served: {error.strerror}") from error
