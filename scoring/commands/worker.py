"""``baton worker``: the daemon."""

import os
import sys
import threading

import click
import structlog

from scoring.log import configure_logging
from scoring.settings import read_settings
from scoring.worker.policy import MustExit
from scoring.worker.process import Stop, run_worker, stop_on_signals
from scoring.worker.watchdog import EXIT_AGAIN

# With busy neighbours OpenMP's spinning costs up to a second per call; one worker uses one core.
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
log = structlog.get_logger()


@click.command(
    epilog="""Examples:

\b
  baton worker --models flight_delay
  baton worker --deployment upsell --slot 3 --models upsell_eu,upsell_us
"""
)
@click.option("--deployment", help="Name of the set of workers that share a consumer group (BATON_DEPLOYMENT).")
@click.option("--slot", type=int, help="This worker's place in its deployment, unique across hosts (BATON_SLOT).")
@click.option("--models", help="Comma-separated names of the models to serve (BATON_MODELS).")
def command(deployment: str | None, slot: int | None, models: str | None) -> None:
    """Score the input topics of the deployment's models until told to stop.

    Waits for the broker and for a first notice, follows the notices, swaps to promoted bundles between two
    micro-batches. SIGTERM finishes the micro-batch in hand. Exit status 70 asks for a restart: a fresh process is the
    only safe answer to what happened.
    """
    os.environ.update({name: value for name, value in SINGLE_THREADED.items() if name not in os.environ})
    settings = read_settings(deployment=deployment, slot=slot, models=models)
    configure_logging(settings.log_format)
    stop = Stop()
    threading.excepthook = exit_with_the_thread
    try:
        with stop_on_signals(stop):
            run_worker(settings, stop)
    except MustExit as error:
        log.critical("worker.must_exit", error=str(error))
        _leave(EXIT_AGAIN)
    _leave(0)


def _leave(status: int) -> None:
    """End the process at once: taking clients apart can hang where one of their calls does."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def exit_with_the_thread(death: threading.ExceptHookArgs) -> None:
    """A worker without one of its threads would go on, deaf or mute; killing it is safe, so that is what happens."""
    name = death.thread.name if death.thread is not None else "unknown"
    log.critical("worker.must_exit", thread=name, error=f"{death.exc_type.__name__}: {death.exc_value}")
    os._exit(EXIT_AGAIN)
