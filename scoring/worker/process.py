"""One worker process: what it needs to itself is taken, its clients are made, and its parts are put together."""

import os
from functools import partial
from uuid import uuid4

import structlog

from scoring.log import identify
from scoring.service.options import check_options
from scoring.service.stop import STOP_PATIENCE_S, Stop, stop_on_signals
from scoring.settings import Settings
from scoring.worker.clients import Clients, worker_id
from scoring.worker.connections import Connections
from scoring.worker.slot import Held, hold_slot, take_core
from scoring.worker.surrounding import Surrounding

__all__ = ["STOP_PATIENCE_S", "Stop", "run_worker", "stop_on_signals"]

log = structlog.get_logger()


def run_worker(
    settings: Settings, stop: Stop, clients: Clients | None = None, surrounding: Surrounding | None = None
) -> None:
    """Run the worker until it is told to stop.

    Raises:
        ConfigurationError: settings are missing or wrong, all of which it lists; or the slot is taken on this host.
        MustExit: the process cannot go on; a fresh one has to start.
    """
    settings.check_worker(partial(check_options, settings))
    around = surrounding or Surrounding()
    worker, instance = worker_id(settings), uuid4().hex
    identify(worker=worker, instance=instance)
    slot = hold_slot(settings.need_cache_dir(), worker)
    cores, core = _pinned(settings) if around.pinned else (frozenset(), None)
    try:
        made = clients or Clients()
        connections = Connections(settings, made)
        from scoring.worker.parts import Worker  # noqa: PLC0415  # takes half of a start: meanwhile the clients connect

        Worker(settings, stop, made, connections, around, instance, cores).run()
    finally:
        for held in (core, slot):
            if held is not None:
                held.release()


def _pinned(settings: Settings) -> tuple[frozenset[int], Held | None]:
    """Keep this thread, and those that it starts, to a core that no other worker of this host keeps to.

    Returns:
        every core that this process might use, and what holds its own; None where there was none left.
    """
    cores = frozenset(os.sched_getaffinity(0))
    taken = take_core(settings.need_cache_dir(), cores)
    if taken is None:
        log.warning("core.none_left", cores=len(cores))
        return cores, None
    core, held = taken
    os.sched_setaffinity(0, {core})
    log.info("core.taken", core=core)
    return cores, held
