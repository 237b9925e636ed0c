"""Puts the supervisor together from settings."""

import os
from functools import partial

import msgspec

from scoring.log import configure_logging, identify
from scoring.service.options import check_options
from scoring.service.stop import Stop, stop_on_signals
from scoring.service.systemd import notifier
from scoring.settings import Settings
from scoring.worker.lifeline import Post
from scoring.worker.supervisor import RestartPolicy, Supervisor, WorkerProcess


def supervise(settings: Settings) -> int:
    """Keep ``settings.processes`` workers running until told to stop; returns the exit status.

    Raises:
        ConfigurationError: settings are missing or wrong, all of which it lists.
    """
    settings.check_worker(partial(check_options, settings))
    configure_logging(settings.log_format)
    identify(supervisor=f"{settings.deployment}/{settings.slot}+{settings.processes}")
    stop = Stop()
    post = Post(
        deployment=settings.deployment,
        slot=settings.slot,
        models=settings.need_models(),
        supervisor=os.getpid(),
        lifeline=-1,
        pinned=settings.pin_cores and 1 < settings.processes <= len(os.sched_getaffinity(0)),
    )
    supervisor = Supervisor(
        range(settings.slot, settings.slot + settings.processes),
        spawn=lambda slot, restarts: WorkerProcess(msgspec.structs.replace(post, slot=slot, restarts=restarts)),
        stop=stop,
        hang_limit_s=settings.hang_limit_s,
        policy=RestartPolicy(limit=settings.restart_limit),
        notifier=notifier(),
    )
    with stop_on_signals(stop):
        return supervisor.run()
