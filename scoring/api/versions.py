"""The versions of a model and what the ledger says of each: what ``baton versions`` says, in a process of its own.

The registry's client costs seconds and memory; it never enters the process that scores. What was told is told again
for a while, so that reading costs no more than that.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from scoring.api.problems import Kind, Problem
from scoring.contract.errors import sentence
from scoring.worker.attended import attended

KEPT_S = 10.0
TIMEOUT_S = 60.0


def versions_command(model: str) -> list[str]:
    """The command line of the process."""
    return [sys.executable, "-m", "scoring", "versions", model, "--json"]


class Versions:
    """Asks for the versions of models, one model at a time; for any thread.

    Args:
        command: makes the command line that writes a model's versions as JSON.
    """

    def __init__(
        self,
        command: Callable[[str], Sequence[str]] = versions_command,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, bytes]] = {}

    def of(self, model: str) -> bytes:
        """A JSON list of versions.

        Raises:
            Problem: ledger or registry cannot be asked now.
        """
        with self._lock:
            at_s, told = self._told.get(model, (-KEPT_S, b""))
            if self._clock_s() - at_s >= KEPT_S:
                told = self._ask(model)
                self._told[model] = self._clock_s(), told
            return told

    def _ask(self, model: str) -> bytes:
        command = attended(list(self._command(model)), os.getpid())
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Problem(
                Kind.UNAVAILABLE, f"ledger and registry cannot be asked now: {type(error).__name__}"
            ) from error
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2].removeprefix("baton: ")
        if done.returncode != 0:
            raise Problem(Kind.UNAVAILABLE, sentence(said or f"it ended with status {done.returncode}"))
        return bytes(msgspec.json.format(done.stdout, indent=0))
