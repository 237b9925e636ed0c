"""How far the partitions reach that wait here: the client hears of new records only where it reads.

A partition is held, or its breaker is open, when its lag matters most. So a thread asks the broker for all of them at
once, every few seconds, and only while some wait.
"""

import threading
from collections.abc import Callable, Collection, Mapping

import structlog

from scoring.contract.errors import Unavailable
from scoring.worker.partitions import Place

INTERVAL_S = 5.0
log = structlog.get_logger()


class Ends:
    """Runs the thread.

    Args:
        ask: the offset behind the last record of each of some partitions; raises Unavailable.

    Attributes:
        waiting: the partitions to be asked for; set by the hot thread.
        known: what the broker said last.
    """

    def __init__(self, ask: Callable[[Collection[Place]], Mapping[Place, int]], interval_s: float = INTERVAL_S) -> None:
        self._ask = ask
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ends", daemon=True)
        self.waiting: Collection[Place] = ()
        self.known: Mapping[Place, int] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it may be in a call that takes its time, and nobody waits for that."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            waiting = self.waiting
            try:
                self.known = self._ask(waiting) if waiting else {}
            except Unavailable as error:  # what was known is as good as nothing, and better
                log.debug("ends.unknown", error=str(error))
