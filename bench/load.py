"""Load over HTTP from ``hey``, a compiled generator that tells of every single answer (Debian has a package of it)."""

import csv
import io
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.environments import NotInstalled
from bench.ground import OTHER_CORE, on_core
from bench.measurements import quantile

# It keeps no more connections open than that.
MOST_CONNECTIONS = 480
TIMEOUT_S = 20


@dataclass(frozen=True)
class Question:
    """One request, which is asked over and over."""

    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answers:
    """What came back.

    Attributes:
        latencies_s: by status.
    """

    seconds: float
    latencies_s: Mapping[int, list[float]]

    @property
    def count(self) -> int:
        """All of them."""
        return sum(map(len, self.latencies_s.values()))

    def rate(self, *statuses: int) -> float:
        """Answers a second, of these statuses or of all."""
        chosen = statuses or tuple(self.latencies_s)
        return sum(len(self.latencies_s.get(status, ())) for status in chosen) / self.seconds

    def quantile_ms(self, share: float, status: int = 200) -> float | None:
        """A quantile of the latency of answers with a status; None where there is none."""
        found = self.latencies_s.get(status)
        return round(quantile(found, share) * 1_000, 3) if found else None


def generator() -> str:
    """The path of the generator; the variable HEY names one that is not installed.

    Raises:
        NotInstalled: it is not there.
    """
    found = os.environ.get("HEY") or shutil.which("hey")
    if found is None:
        raise NotInstalled("the load generator `hey` is not there: apt-get install hey, or HEY=/path/to/hey")
    return found


def load(question: Question, scratch: Path, *, connections: int, seconds: float, rate: float | None = None) -> Answers:
    """Ask for some seconds.

    Args:
        connections: as many requests are asked at a time, each after the answer to the one before it.
        rate: requests a second at the most, of all connections together; None is as many as there may be.
    """
    body = scratch / "body"
    body.write_bytes(question.body)
    headers = [part for name, value in question.headers.items() for part in ("-H", f"{name}: {value}")]
    paced = [] if rate is None else ["-q", f"{rate / connections:.3f}"]
    command = [
        *(generator(), "-z", f"{seconds:.1f}s", "-c", str(connections), "-t", str(TIMEOUT_S), "-o", "csv"),
        *(*paced, "-m", "POST", "-D", str(body), *headers, question.url),
    ]
    with on_core(OTHER_CORE):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 2 * TIMEOUT_S)
    return Answers(seconds, read(done.stdout))


def read(text: str) -> Mapping[int, list[float]]:
    """Latencies by status, from the generator's lines."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for line in csv.DictReader(io.StringIO(text)):
        found[int(line["status-code"])].append(float(line["response-time"]))
    return found
