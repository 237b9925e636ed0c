"""``baton worker``: the daemon."""

import os

import click

from scoring.service.ending import exit_with_the_thread, leave
from scoring.settings import read_settings

__all__ = ["command", "exit_with_the_thread"]

# With busy neighbours OpenMP's spinning costs up to a second per call; one worker uses one core.
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@click.command(
    epilog="""Examples:

\b
  baton worker --models flight_delay
  baton worker --deployment upsell --slot 3 --models upsell_eu,upsell_us
  baton worker --deployment flights --processes 4 --models flight_delay
"""
)
@click.option("--deployment", help="Name of the set of workers that share a consumer group (BATON_DEPLOYMENT).")
@click.option("--slot", type=int, help="This worker's place in its deployment, unique across hosts (BATON_SLOT).")
@click.option("--models", help="Comma-separated names of the models to serve (BATON_MODELS).")
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    help="Supervise that many workers, in this slot and those that follow (BATON_PROCESSES); 0 is one, unsupervised.",
)
def command(deployment: str | None, slot: int | None, models: str | None, processes: int | None) -> None:
    """Score the input topics of the deployment's models until told to stop.

    Waits for the broker and for a first notice, follows the notices, swaps to promoted bundles between two
    micro-batches. SIGTERM finishes the micro-batch in hand. Exit status 70 asks for a restart: a fresh process is the
    only safe answer to what happened. With --processes a supervisor does that, with back-off, for each of its workers.
    """
    os.environ.update({name: value for name, value in SINGLE_THREADED.items() if name not in os.environ})
    settings = read_settings(deployment=deployment, slot=slot, models=models, processes=processes)
    if settings.processes:
        from scoring.worker.supervising import supervise  # noqa: PLC0415 - neither loads what only the other needs

        leave(supervise(settings))
    from scoring.worker.life import live  # noqa: PLC0415 - see above; 100 MB

    live(settings)
