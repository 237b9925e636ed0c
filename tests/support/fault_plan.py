"""Where a worker dies, freezes or ends its broker: counted passages of named points.

``FAULT_PLAN`` is a JSON object:

* ``point``: such as ``commit.before``, ``commit.after`` or ``remembered.before``,
* ``count``: at which passage (1 is the first),
* ``open``: count only while so many transactions are open,
* ``topic``: count only ``produce`` calls to this topic,
* ``action``: ``kill`` (SIGKILL of the worker, the default) or ``stop`` (SIGSTOP),
* ``fill``: write this file until the disk is full instead, and go on,
* ``pid``: SIGKILL this broker instead, and go on,
* ``bug``: a planted bug, see ``planted_bugs``,
* ``linger_ms``: by turn (0 or 1), how long that transactional producer waits before it sends,
* ``clock_offset_s``: how far off the worker's clock of the day is; it jumps by as much again each second if ``jumps``,
* ``kills``: a file that gets a line for each time.
"""

import json
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_sync = os.fsync  # kept before a point is planted into it


class FaultPlan:
    """Counts passages, and acts at the planned one."""

    def __init__(self, what: dict[str, Any]) -> None:
        self.what = what
        self.open: set[int] = set()
        self.passed = 0
        self._point = what.get("point")
        self._lock = threading.Lock()

    @property
    def bug(self) -> str | None:
        """The planted bug, where there is one."""
        bug: str | None = self.what.get("bug")
        return bug

    def reach(self, point: str, topic: str | None = None) -> None:
        """The worker is at ``point``; it does not come back from the planned one."""
        if point != self._point:
            return
        if self.what.get("open") not in {None, len(self.open)} or self.what.get("topic") not in {None, topic}:
            return
        with self._lock:
            self.passed += 1
            if self.passed == self.what.get("count", 1):
                self._act(point)

    def _act(self, point: str) -> None:
        line = {"point": point, "open": len(self.open), "slot": os.environ["BATON_SLOT"], "pid": os.getpid()}
        with Path(self.what["kills"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            _sync(file.fileno())
        if "fill" in self.what:
            with suppress(OSError), Path(self.what["fill"]).open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
        elif "pid" in self.what:
            with suppress(ProcessLookupError, FileNotFoundError):  # it may be gone, and its number somebody else's
                if b"kafka.Kafka" in Path(f"/proc/{self.what['pid']}/cmdline").read_bytes():
                    os.kill(self.what["pid"], signal.SIGKILL)
        else:
            os.kill(os.getpid(), signal.SIGSTOP if self.what.get("action") == "stop" else signal.SIGKILL)


def planned() -> FaultPlan:
    """The plan in the environment."""
    return FaultPlan(json.loads(os.environ.get("FAULT_PLAN", "{}")))
