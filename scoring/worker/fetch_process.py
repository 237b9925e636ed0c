"""Short-lived processes of a worker: one that fetches a bundle, and one that tries it.

The registry's client never enters the process that scores, and neither does a bundle that was not tried before. Both
end with the worker, however it ends.
"""

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from scoring.contract.errors import Unavailable
from scoring.registry.outcome import check_outcome, fetch_command
from scoring.scorer.trial import TrialLimits, judge, trial_command
from scoring.worker.attended import attended

TIMEOUT_S = 300.0
# What a trial gets of the environment: a bundle that takes its process over finds no secret in it.
_TRIAL_SEES = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "OMP_NUM_THREADS", "SSL_CERT_FILE")


class FetchProcess:
    """Runs ``python -m scoring.registry.fetch`` and ``python -m scoring.scorer.trial``, one at a time.

    Args:
        cores: those that they may use, where the hot thread keeps to one of its own; empty where it does not.
    """

    def __init__(
        self, timeout_s: float = TIMEOUT_S, limits: TrialLimits | None = None, cores: frozenset[int] = frozenset()
    ) -> None:
        self._cores = cores
        self._timeout_s = timeout_s
        self._limits = limits or TrialLimits()
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def fetch(self, model: str, version: str, target: Path) -> None:
        """Bring the bundle of a model version into the folder ``target``.

        Raises:
            Unavailable: the registry cannot be reached, or did not answer in time.
            BundleRejected: it holds no such bundle.
        """
        late = f"the registry did not deliver {model} {version} in {self._timeout_s:.0f} s"
        check_outcome(*self._run(fetch_command(model, version, target), self._timeout_s, late))

    def try_bundle(self, model: str, digest: str, folder: Path) -> None:
        """Try the bundle in ``folder`` where it can do no harm.

        Raises:
            BundleRejected: it failed, crashed, or took more memory or processor time than it may.
            Unavailable: the trial could not be finished; the machine is too busy, or somebody ended it.
        """
        limits = self._limits
        late = f"the trial of {model} {digest[:12]} was not finished in {limits.patience_s:.0f} s; is the machine busy?"
        environment = {name: os.environ[name] for name in _TRIAL_SEES if name in os.environ}
        judge(*self._run(trial_command(folder, digest, model, limits), limits.patience_s, late, environment))

    def close(self) -> None:
        """End what is running; nothing is started from now on."""
        with self._lock:
            self._closed = True
            if self._running is not None and self._running.poll() is None:
                self._running.kill()

    def _run(
        self, command: list[str], timeout_s: float, late: str, environment: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Exit status and standard output of a process; Unavailable, saying ``late``, where it takes too long."""
        if self._cores:  # of this thread, and of the processes that it starts
            os.sched_setaffinity(0, self._cores)
        try:
            with self._lock:
                if self._closed:
                    raise Unavailable("the worker is stopping")
                process = self._running = subprocess.Popen(
                    attended(command, os.getpid()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
        except OSError as error:
            raise Unavailable(f"no process can be started now: {error.strerror}") from error
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise Unavailable(late) from error
        return process.returncode, output
