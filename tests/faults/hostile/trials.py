"""Trials by the thousand: a process that loaded the libraries once and forks for each trial, under the same limits.

The worker starts ``python -m scoring.scorer.trial`` anew each time, which takes some half a second. This one takes
requests of one JSON line each and answers with the exit status and output of its child.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from scoring.scorer.trial import TrialLimits, judge

# Enough for ONNX Runtime; hostile bundles then fail the sooner.
LIMITS = TrialLimits(memory_bytes=2 * 2**30, processor_s=5, patience_s=120.0, records=2048)


class Trials:
    """The process that forks, and the worker's way of asking it."""

    def __init__(self, limits: TrialLimits = LIMITS, bug: str | None = None) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.hostile.trials", *([bug] if bug else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.count = 0

    def try_bundle(self, model: str, digest: str, folder: Path) -> None:
        """As the worker's own: raises BundleRejected or Unavailable."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"folder": str(folder), "digest": digest, "model": model, "limits": limits_of(self._limits)}
        with self._lock:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            self.count += 1
        judge(answer["status"], base64.b64decode(answer["output"]))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def limits_of(limits: TrialLimits) -> list[str]:
    """The last arguments of a trial."""
    return [str(limits.records), str(limits.memory_bytes), str(limits.processor_s)]


def _serve() -> None:
    from scoring.scorer import trial
    from tests.faults.hostile.planted import BUGS

    for bug in sys.argv[1:]:
        BUGS[bug]()
    for line in sys.stdin.buffer:
        request: dict[str, Any] = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.dup2(writing, sys.stdout.fileno())
            os._exit(trial.main([request["folder"], request["digest"], request["model"], *request["limits"]]))
        os.close(writing)
        output = b""
        while piece := os.read(reading, 65_536):
            output += piece
        os.close(reading)
        _, waited = os.waitpid(child, 0)
        answer = {"status": os.waitstatus_to_exitcode(waited), "output": base64.b64encode(output).decode()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
