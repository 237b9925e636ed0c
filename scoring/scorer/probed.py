"""What a probe of a bundle measures, how it is started, and what its answer means; imports no library for scoring."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scoring.contract.errors import BundleRejected, ContractError

# Sizes of micro-batches: a lone record, light traffic, heavy traffic, catching up.
SIZES = (1, 64, 1_024, 4_096)
REJECTED = 1
USAGE = 2


class BatchTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long micro-batches of ``records`` took from bytes to scores.

    Attributes:
        runs: so many were timed; with less than 100 the p99 is the slowest.
        p50_ms, p99_ms: of processor time, which busy neighbours do not add to; a bundle waits for nothing. Where the
            system counts it in coarse ticks, an upper bound: one tick more, but never more than passed.
        wall_p50_ms, wall_p99_ms: of the time that passed.
    """

    records: int
    runs: int
    p50_ms: float
    p99_ms: float
    wall_p50_ms: float
    wall_p99_ms: float


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle in a fresh process that has only the scoring side.

    Attributes:
        load_s: opening, checking digests, loading the compiled model, and checking the golden rows.
        first_prediction_ms: processor time of one record, right after loading.
        resident_bytes: of the whole process, after the largest micro-batch.
        peak_bytes: the most that was resident.
        bundle_bytes: resident memory that loading and scoring added.
        versions: of Python and of the packages present that a bundle may depend on.
    """

    load_s: float
    first_prediction_ms: float
    resident_bytes: int
    peak_bytes: int
    bundle_bytes: int
    batches: tuple[BatchTime, ...]
    versions: Mapping[str, str]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The line that the process writes: what it measured, or why the bundle must not score."""

    probed: Probed | None = None
    rejected: str | None = None


class ProbeFailed(ContractError):
    """The process gave no answer; the message holds the end of what it wrote."""


def probe_command(
    folder: Path,
    *,
    python: Path | None = None,
    memory_bytes: int | None = None,
    seconds: float | None = None,
    sizes: Sequence[int] = SIZES,
) -> list[str]:
    """The command line that probes the bundle in ``folder``.

    Args:
        python: interpreter of an environment that has only the scoring side; None is this one, with every
            distribution hidden that the scoring side does not need.
        memory_bytes: the process may take so much more address space than it has before it opens the bundle.
        seconds: of processor time.
    """
    limits = [] if memory_bytes is None else ["--memory-bytes", str(memory_bytes)]
    limits += [] if seconds is None else ["--seconds", str(max(1, round(seconds)))]
    start = [sys.executable, "-P", "-m", "scoring.scorer.alone"] if python is None else [str(python), "-I", "-m"]
    wanted = ["--sizes", ",".join(map(str, sizes))]
    return [*start, "scoring.scorer.probe", *limits, *wanted, str(folder)]


def read_answer(status: int, output: bytes, errors: bytes) -> Probed:
    """What a finished probe reports.

    Args:
        status: its exit status; negative where a signal ended it.

    Raises:
        BundleRejected: the bundle must not score.
        ProbeFailed: the process died without an answer.
    """
    try:
        answer = msgspec.json.decode(output.strip().rpartition(b"\n")[2], type=Answer)
    except msgspec.MsgspecError as error:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        told = " ".join(errors.decode(errors="replace").split())[-500:]
        raise ProbeFailed(f"the process that loads the bundle ended with {ended}: {told or 'no word'}") from error
    if answer.probed is not None and status == 0:
        return answer.probed
    raise BundleRejected(answer.rejected or f"the process that loads the bundle ended with status {status}")
