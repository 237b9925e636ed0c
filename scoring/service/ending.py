"""How a service's process ends: at once, with a status that says what to do about it."""

import os
import sys
import threading
from typing import NoReturn

import structlog

from scoring.contract.errors import BatonError

EXIT_CONFIGURATION = 2
# A fresh process is the only safe answer.
EXIT_AGAIN = 70
log = structlog.get_logger()


class MustExit(BatonError):
    """The process cannot go on (it was fenced, or the client is in an unknown state); a fresh one has to start."""


def leave(status: int) -> NoReturn:
    """End the process at once: taking clients apart can hang where one of their calls does."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def exit_with_the_thread(death: threading.ExceptHookArgs, event: str = "worker.must_exit") -> None:
    """A service without one of its threads would go on, deaf or mute; killing it is safe, so that is what happens."""
    name = death.thread.name if death.thread is not None else "unknown"
    log.critical(event, thread=name, error=f"{death.exc_type.__name__}: {death.exc_value}")
    os._exit(EXIT_AGAIN)
