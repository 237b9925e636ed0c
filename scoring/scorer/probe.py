"""Load a bundle and time it: ``python -m scoring.scorer.probe FOLDER`` prints one line of JSON.

Run it in a process of its own, in the environment that will score. It measures what a worker will live through: opening
and checking the bundle, the first prediction, and micro-batches from bytes to scores (decode, looked-up values, encode,
run; a worker's Kafka is not in it). The records are the golden rows, over and over.

Exit status 0: measured. 1: the bundle must not score; the line says why. 2: wrong usage.
"""

import argparse
import contextlib
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from platform import python_version

import msgspec

from scoring.contract.encoder import Column
from scoring.contract.errors import BundleRejected
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.probed import REJECTED, SIZES, Answer, BatchTime, Probed
from scoring.scorer.scorer import Scorer, lookup_columns

PACKAGES = ("baton", "msgspec", "numpy", "onnxruntime")
WARM_UP_RUNS = 2
MINIMUM_RUNS = 5
MAXIMUM_RUNS = 300
# So long are micro-batches of one size repeated.
SPAN_S = 0.4

Clock = Callable[[], float]


def probe(
    folder: Path,
    sizes: Sequence[int] = SIZES,
    clock: Clock = time.perf_counter,
    processor_clock: Clock = time.process_time,
) -> Probed:
    """Load the bundle in ``folder`` and measure it.

    Args:
        clock, processor_clock: seconds that passed, and seconds of processor time of this process.

    Raises:
        BundleRejected: it is damaged, does not load, or does not reproduce its golden rows.
    """
    before_bytes = resident_bytes()
    started_s = clock()
    scorer = Scorer(open_bundle(folder))
    check_golden(scorer)
    loaded_s = clock()
    before_s = processor_clock()
    _score(scorer, 1)
    first_s = processor_clock() - before_s
    tick = tick_s(processor_clock)
    batches = tuple(_timed(scorer, records, clock, processor_clock, tick) for records in sizes)
    after_bytes = resident_bytes()
    return Probed(
        load_s=loaded_s - started_s,
        first_prediction_ms=first_s * 1e3,
        resident_bytes=after_bytes,
        peak_bytes=peak_bytes(),
        bundle_bytes=max(0, after_bytes - before_bytes),
        batches=batches,
        versions=versions(),
    )


def versions() -> Mapping[str, str]:
    """Of Python and the packages that scoring runs on; what is not installed is left out."""
    found = {"python": python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank)."""
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def resident_bytes() -> int:
    """Memory of this process that is resident now; 0 where the system does not tell."""
    return _status_kb("VmRSS") * 1024


def peak_bytes() -> int:
    """The most that was resident. Not getrusage's, which begins with what the parent had when it forked."""
    return _status_kb("VmHWM") * 1024


def limit(memory_bytes: int | None, seconds: int | None) -> None:
    """Bound what this process may still take: address space beyond what it has now, and processor time in all."""
    if memory_bytes is not None:
        ceiling = _status_kb("VmSize") * 1024 + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    if seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def main(arguments: Sequence[str]) -> int:
    """Run the process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m scoring.scorer.probe", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="records per micro-batch, comma-separated")
    parser.add_argument("--memory-bytes", type=int, help="the bundle may take so much address space")
    parser.add_argument("--seconds", type=int, help="of processor time")
    asked = parser.parse_args(arguments)
    limit(asked.memory_bytes, asked.seconds)
    try:
        answer, status = Answer(probed=probe(asked.folder, asked.sizes)), 0
    except BundleRejected as error:
        answer, status = Answer(rejected=str(error)), REJECTED
    except MemoryError:
        answer, status = Answer(rejected=f"it needs more than {asked.memory_bytes} bytes of memory"), REJECTED
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return status


def tick_s(clock: Clock) -> float:
    """The smallest step by which a clock goes forward."""
    steps: list[float] = []
    before_s = clock()
    while len(steps) < 5:
        now_s = clock()
        if now_s > before_s:
            steps.append(now_s - before_s)
            before_s = now_s
    return min(steps)


def _timed(scorer: Scorer, records: int, clock: Clock, processor_clock: Clock, tick: float) -> BatchTime:
    for _ in range(WARM_UP_RUNS):
        _score(scorer, records)
    own_s: list[float] = []
    wall_s: list[float] = []
    began_s = clock()
    while len(wall_s) < MINIMUM_RUNS or (len(wall_s) < MAXIMUM_RUNS and clock() - began_s < SPAN_S):
        started_s, started_own_s = clock(), processor_clock()
        _score(scorer, records)
        busy_s = processor_clock() - started_own_s
        wall_s.append(clock() - started_s)
        own_s.append(min(busy_s + tick, wall_s[-1]))
    own_s.sort()
    wall_s.sort()
    return BatchTime(
        records=records,
        runs=len(own_s),
        p50_ms=percentile(own_s, 0.50) * 1e3,
        p99_ms=percentile(own_s, 0.99) * 1e3,
        wall_p50_ms=percentile(wall_s, 0.50) * 1e3,
        wall_p99_ms=percentile(wall_s, 0.99) * 1e3,
    )


def _score(scorer: Scorer, records: int) -> None:
    golden = scorer.bundle.golden
    rows = list(islice((row for _ in range(records // len(golden) + 1) for row in golden), records))
    decoded = scorer.decode([row.message for row in rows])
    columns: dict[str, Column] = {**decoded.columns, **lookup_columns(scorer, [row.lookups for row in rows])}
    scorer.decide(scorer.score(columns, len(decoded.rows)))


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text}: each size must be at least 1")
    return sizes


def _status_kb(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # no Linux
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
