"""A supervised worker whose scorer hangs once: ``HANG`` is a file that it removes first, and that says how.

``released``: in a call that lets other threads run; ``held``: in native code that lets none run, not even the watchdog.
"""

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from scoring.scorer.scorer import Scorer
from scoring.worker import child
from scoring.worker.supervisor import WorkerProcess

MODULE = "tests.support.hanging_child"
_score = Scorer.score


def _hang_once(self: Scorer, columns: Any, rows: int) -> Any:
    how = Path(os.environ["HANG"])
    if rows and how.exists() and self.lap.__name__ == "lap":  # the hot thread's, not the golden check's
        kind = how.read_text()
        how.unlink()
        if kind == "held":
            ctypes.PyDLL(None).sleep(600)
        time.sleep(600)
    return _score(self, columns, rows)


def supervise() -> int:
    """Run the real supervisor over workers of this module."""
    from scoring.settings import read_settings
    from scoring.worker import supervising

    class Hanging(WorkerProcess):
        def __init__(self, post: Any) -> None:
            super().__init__(post, MODULE)

    vars(supervising)["WorkerProcess"] = Hanging
    return supervising.supervise(read_settings())


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(supervise())
    Scorer.score = _hang_once  # type: ignore[method-assign]
    child.main(sys.argv[1:])
