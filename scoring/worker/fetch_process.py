"""Fetching in a short-lived process, so that the registry's client never enters the one that scores."""

import subprocess
import threading
from pathlib import Path

from scoring.contract.errors import Unavailable
from scoring.registry.outcome import check_outcome, fetch_command

TIMEOUT_S = 300.0


class FetchProcess:
    """Runs ``python -m scoring.registry.fetch``, one at a time."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def fetch(self, model: str, version: str, target: Path) -> None:
        """Bring the bundle of a model version into the folder ``target``.

        Raises:
            Unavailable: the registry cannot be reached, or did not answer in time.
            BundleRejected: it holds no such bundle.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the worker is stopping")
            command = fetch_command(model, version, target)
            process = self._running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise Unavailable(f"the registry did not deliver {model} {version} in {self._timeout_s:.0f} s") from error
        check_outcome(process.returncode, output)

    def close(self) -> None:
        """End what is being fetched; nothing is fetched from now on."""
        with self._lock:
            self._closed = True
            if self._running is not None and self._running.poll() is None:
                self._running.kill()
