"""The life of one worker process, from its settings to its exit status."""

import threading
from typing import NoReturn

import structlog

from scoring.contract.errors import ConfigurationError
from scoring.log import configure_logging
from scoring.service.ending import EXIT_AGAIN, MustExit, exit_with_the_thread, leave
from scoring.service.stop import Stop, stop_on_signals
from scoring.settings import Settings
from scoring.worker.clients import Clients
from scoring.worker.process import run_worker
from scoring.worker.surrounding import Surrounding

log = structlog.get_logger()


def live(settings: Settings, surrounding: Surrounding | None = None, clients: Clients | None = None) -> NoReturn:
    """Run a worker until it is told to stop, and end this process: with status 0, or 70 for a fresh one to start.

    Raises:
        ConfigurationError: settings are missing or wrong.
    """
    configure_logging(settings.log_format)
    stop = Stop()
    threading.excepthook = exit_with_the_thread
    try:
        with stop_on_signals(stop):
            run_worker(settings, stop, clients, surrounding)
    except MustExit as error:
        log.critical("worker.must_exit", error=str(error))
        leave(EXIT_AGAIN)
    except ConfigurationError:
        raise
    except Exception:  # an unknown state; and taking clients apart, as the interpreter would, can hang
        log.critical("worker.must_exit", exc_info=True)
        leave(EXIT_AGAIN)
    leave(0)
