"""Load over HTTP from ``hey``, a compiled generator that tells of every single answer (Debian has a package of it)."""

import csv
import io
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.environments import NotInstalled
from bench.ground import OTHER_CORE, on_core
from bench.measurements import quantile

# One generator keeps no more connections open than that.
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


def load(
    question: Question,
    scratch: Path,
    *,
    connections: int,
    seconds: float,
    rate: float | None = None,
    generators: int = 1,
    pinned: bool = True,
) -> Answers:
    """Ask for some seconds.

    Args:
        connections: as many requests are asked at a time, each after the answer to the one before it.
        rate: requests a second at the most, of all connections together; None is as many as there may be.
        generators: how many processes share the connections.
        pinned: they keep off the core of what is measured.
    """
    chosen = ["-z", f"{seconds:.1f}s", "-c", str(connections // generators), "-o", "csv"]
    if rate is not None:
        chosen += ["-q", f"{rate / connections:.3f}"]
    command = _command(question, scratch, chosen)
    with on_core(OTHER_CORE if pinned else None):
        started = [_started(command) for _ in range(generators)]
    try:
        told = [_told_by(process, seconds + 2 * TIMEOUT_S) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return Answers(seconds, read(told))


@dataclass(frozen=True)
class Tally:
    """How many requests were answered, by status, and how many were not at all."""

    answers: Mapping[int, int]
    errors: int


def tally(question: Question, scratch: Path, *, connections: int, requests: int, rate: float) -> Tally:
    """Ask so many times, so many a second at the most, and count what came back.

    The latencies of single answers, which ``load`` reads, come without those requests that had none.
    """
    chosen = ["-n", str(requests), "-c", str(connections), "-q", f"{rate / connections:.3f}"]
    return counted(_told_by(_started(_command(question, scratch, chosen)), requests / rate + 10 * TIMEOUT_S))


def counted(text: str) -> Tally:
    """The counts in the generator's summary."""
    answered, _, failed = text.partition("Error distribution:")
    answers = re.findall(r"^\s+\[(\d+)\]\s+(\d+) responses$", answered, re.MULTILINE)
    errors = re.findall(r"^\s+\[(\d+)\]\s", failed, re.MULTILINE)
    return Tally({int(status): int(count) for status, count in answers}, sum(map(int, errors)))


def _command(question: Question, scratch: Path, chosen: Sequence[str]) -> list[str]:
    body = scratch / "body"
    body.write_bytes(question.body)
    headers = [part for name, value in question.headers.items() for part in ("-H", f"{name}: {value}")]
    return [generator(), *chosen, "-t", str(TIMEOUT_S), "-m", "POST", "-D", str(body), *headers, question.url]


def _started(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _told_by(process: "subprocess.Popen[str]", within_s: float) -> str:
    output, errors = process.communicate(timeout=within_s)
    if process.returncode:
        raise RuntimeError(f"the load generator ended with status {process.returncode}: {errors[-500:]}")
    return output


def read(texts: Iterable[str]) -> Mapping[int, list[float]]:
    """Latencies by status, from the lines of all generators."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for text in texts:
        for line in csv.DictReader(io.StringIO(text)):
            found[int(line["status-code"])].append(float(line["response-time"]))
    return found
