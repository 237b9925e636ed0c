"""Sink processes as their users run them."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from local.ports import free_ports
from tests.support.arena import wait_until
from tests.support.predicted_stream import PredictedStream
from tests.support.sink_oracle import Verdict, is_locked, judge, rows_in


class Sinks:
    """The sinks of some tables.

    Attributes:
        port: where the sink in slot 0 serves its metrics; the others follow.
    """

    def __init__(self, bootstrap: str, url: str, model: str, folder: Path) -> None:
        self.url = url
        self.port = free_ports(1)[0]
        self._folder = folder
        self._environment = {
            **os.environ,
            "BATON_KAFKA_BOOTSTRAP": bootstrap,
            "BATON_PREDICTIONS_URL": url,
            "BATON_MODELS": model,
            "BATON_SESSION_TIMEOUT_MS": "2000",
            "BATON_SINK_METRICS_PORT": str(self.port),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, slot: int = 0, **settings: str) -> subprocess.Popen[bytes]:
        """Start ``baton sink`` in a slot."""
        environment = {**self._environment, **{f"BATON_{name.upper()}": value for name, value in settings.items()}}
        with (self._folder / f"sink-{slot}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "scoring", "sink", "--slot", str(slot)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def freeze(self, process: subprocess.Popen[bytes]) -> None:
        """Let a sink stand still between two transactions: the locks of one would keep its successor out for ever."""
        wait_until(lambda: self._frozen(process), 60, "it is always writing")

    def _frozen(self, process: subprocess.Popen[bytes]) -> bool:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # with all of its threads
        if not is_locked(self.url):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    def close(self) -> None:
        """End every sink that is still running."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def log(self, slot: int = 0) -> str:
        """What the sinks of a slot have logged."""
        return (self._folder / f"sink-{slot}.log").read_text()

    def wait_for_log(self, event: str, slot: int = 0, timeout_s: float = 60.0) -> None:
        """Wait until a sink of a slot has logged this."""
        wait_until(lambda: event in self.log(slot), timeout_s, f"slot {slot} never logged {event}: {self.log(slot)}")

    def wait_for_rows(self, rows: int, timeout_s: float = 60.0) -> None:
        """Wait until the tables hold so many records."""
        wait_until(lambda: rows_in(self.url) >= rows, timeout_s, f"{rows} rows are not there: {self.log()[-3000:]}")

    def probe(self, path: str, slot: int = 0) -> tuple[int, Any]:
        """What the endpoint of a slot answers; status 0 where nobody does."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port + slot}{path}", timeout=10) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error.read())
        except OSError:  # also where it ends while it answers
            return 0, None

    def wait_for_probe(self, good: Callable[[int, Any], bool], otherwise: str, timeout_s: float = 60.0) -> None:
        """Wait until ``/readyz`` answers so."""
        wait_until(lambda: good(*self.probe("/readyz")), timeout_s, otherwise)

    def finish(self, stream: PredictedStream, timeout_s: float = 90.0) -> Verdict:
        """Wait until everything is in the tables, markers included, and compare them with the topics."""
        self.wait_for_rows(sum(stream.committed.values()), timeout_s)
        found: list[Verdict] = []

        def stands() -> bool:
            found.append(judge(stream, self.url))
            return found[-1].faultless

        try:
            wait_until(stands, 30, "the tables are not what the topics are", every_s=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found[-1]}\n{self.log()[-3000:]}") from error
        return found[-1]


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode()
