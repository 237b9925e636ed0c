"""The real worker with clients and steps that follow a plan, or with a planted bug: see ``fault_plan``."""

import faulthandler
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from scoring.commands.worker import exit_with_the_thread
from scoring.log import configure_logging
from scoring.service.ending import MustExit
from scoring.settings import read_settings
from scoring.worker import fetching, heartbeat, loop
from scoring.worker.assignment import Assignment
from scoring.worker.partitions import Partition
from scoring.worker.process import Stop, run_worker, stop_on_signals
from tests.support.fault_plan import planned
from tests.support.faulty_clients import FaultyProducer, faulty_clients, plant_steps
from tests.support.planted_bugs import BUGS

EXIT_AGAIN = 70


def main() -> int:
    """Run the worker as ``baton worker`` does; returns the exit status."""
    faulthandler.register(signal.SIGUSR2)  # says where each thread is, for a campaign that sees nothing go on
    settings, plan = read_settings(), planned()
    clients = faulty_clients(plan)
    plant_steps(plan)
    _explain()
    if "clock_offset_s" in plan.what:
        _skew(float(plan.what["clock_offset_s"]), jumps=bool(plan.what.get("jumps")))
    if plan.bug in BUGS:
        BUGS[plan.bug](FaultyProducer)
    configure_logging(settings.log_format)
    stop = Stop()
    threading.excepthook = exit_with_the_thread
    try:
        with stop_on_signals(stop):
            run_worker(settings, stop, clients)
    except MustExit as error:
        print(f"must exit: {error}", file=sys.stderr)
        return EXIT_AGAIN
    return 0


def _explain() -> None:
    """Say each time why committed offsets could not be read: the worker itself says so only when it lasts."""
    unreadable = Assignment._unreadable

    def explained(self: Assignment, unread: Sequence[Partition], error: str, longest_s: float) -> None:
        print(f"unreadable: {[partition.partition for partition in unread]}: {error}", file=sys.stderr, flush=True)
        unreadable(self, unread, error, longest_s)

    Assignment._unreadable = explained  # type: ignore[method-assign]


def _skew(offset_s: float, *, jumps: bool) -> None:
    """The clock of the day is wrong in every module of the worker; the monotonic one is not, nor is it ever set."""

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # what is sent is a plain one
            moment = datetime.now(tz)
            times = moment.second % 3 - 1 if jumps else 1
            return moment + timedelta(seconds=offset_s * times)

    for module in (loop, heartbeat, fetching):
        vars(module)["datetime"] = Skewed


if __name__ == "__main__":
    sys.exit(main())
