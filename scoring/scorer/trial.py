"""The trial of a bundle, in a process of its own: ``python -m scoring.scorer.trial FOLDER DIGEST MODEL RECORDS``.

A worker tries a new bundle here before it lets it near the process that scores. What a wrong bundle can do to a
process (crash a library, loop, take all memory) happens to this one, which is limited in memory and processor time and
is killed when it takes too long. Digests, the rules for graphs, golden rows, and the largest
micro-batch: its scores must be those of the golden rows, over and over.

Writes one JSON line: ``{"refused": reason}`` or ``{"refused": null}``.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

import msgspec
import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected, Unavailable, sentence
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden, expected_scores
from scoring.scorer.scorer import Scorer, lookup_columns

# The largest micro-batch of a model that is fit to serve takes milliseconds; the load gate watches over those.
# Processor time: a machine that stood still for a while says nothing about a bundle, which would be refused for good.
SLOWEST_BATCH_S = 10.0
NICENESS = 5
# Signals by which a process dies of what it was doing, not of what somebody did to it.
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
_OWN_FAULT = {*_CRASHES, signal.SIGXCPU}


class TrialLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial may use.

    Attributes:
        memory_bytes: address space of the whole process, of which Python and its libraries take some 200 MB.
        processor_s: processor time; a bundle that needs more is refused.
        patience_s: time by the clock; then the machine is too busy, and the trial is repeated later.
        records: size of the largest micro-batch.
    """

    memory_bytes: int = 4 * 2**30
    processor_s: int = 60
    patience_s: float = 300.0
    records: int = 4096


class Verdict(msgspec.Struct, frozen=True):
    """What the process writes: why the bundle was refused, or that it was not."""

    refused: str | None


def trial_command(folder: Path, digest: str, model: str, limits: TrialLimits) -> list[str]:
    """The command line of a trial, with this interpreter."""
    arguments = [str(folder), digest, model, str(limits.records), str(limits.memory_bytes), str(limits.processor_s)]
    return [sys.executable, "-m", "scoring.scorer.trial", *arguments]


def judge(status: int, output: bytes) -> None:
    """Raise what a finished trial means.

    Args:
        status: its exit status; negative where a signal ended it.
        output: all of its standard output.

    Raises:
        BundleRejected: the bundle failed, or brought the process down.
        Unavailable: somebody else ended the trial, so it says nothing about the bundle: try again.
    """
    if -status in _OWN_FAULT:
        name = signal.Signals(-status).name
        why = "it took too much processor time" if -status == signal.SIGXCPU else "it brought its process down"
        raise BundleRejected(f"trial: {why} ({name})")
    try:
        said = msgspec.json.decode(output.strip().rpartition(b"\n")[2], type=Verdict)
    except msgspec.MsgspecError:
        raise Unavailable(f"the trial of a bundle ended with status {status} and no verdict") from None
    if said.refused is not None:
        raise BundleRejected(said.refused)


def limit(memory_bytes: int, processor_s: int) -> None:
    """Limit this process for the rest of its life."""
    os.nice(NICENESS)
    for what, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, processor_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hardest = resource.getrlimit(what)
        within = value if hardest == resource.RLIM_INFINITY else min(value, hardest)
        resource.setrlimit(what, (within, within + 1 if hardest == resource.RLIM_INFINITY else hardest))


def try_bundle(
    folder: Path, digest: str, model: str, records: int, clock_s: Callable[[], float] = time.process_time
) -> str | None:
    """Try a bundle in this process; returns why it is refused.

    Args:
        clock_s: seconds of processor time.
    """
    try:
        _try(folder, digest, model, records, clock_s)
    except BundleRejected as error:
        return sentence(error)
    except MemoryError:
        return f"trial: bundle {digest[:12]} needs more memory than it may have"
    except Exception as error:  # whatever a bundle makes a library raise is a reason to refuse it
        return sentence(f"trial: {type(error).__name__}: {error}")
    return None


def main(arguments: Sequence[str]) -> int:
    """Run the process; returns its exit status."""
    folder, digest, model, *numbers = arguments
    records, memory_bytes, processor_s = map(int, numbers)
    limit(memory_bytes, processor_s)
    refused = try_bundle(Path(folder), digest, model, records)
    sys.stdout.write(msgspec.json.encode(Verdict(refused)).decode() + "\n")
    sys.stdout.flush()
    return 0


def _try(folder: Path, digest: str, model: str, records: int, clock_s: Callable[[], float]) -> None:
    bundle = open_bundle(folder, digest)
    if bundle.manifest.model != model:
        raise BundleRejected(f"bundle {digest} is of model {bundle.manifest.model}, not of {model}")
    scorer = Scorer(bundle)
    check_golden(scorer)
    rows = list(islice(cycle(bundle.golden), records))
    columns = scorer.decode([row.message for row in rows]).columns
    columns.update(lookup_columns(scorer, [row.lookups for row in rows]))
    started_s = clock_s()
    scores = scorer.score(columns, records)
    took_s = clock_s() - started_s
    if took_s > SLOWEST_BATCH_S:
        raise BundleRejected(
            f"trial: {records} records took {took_s:.1f} s of processor time, {SLOWEST_BATCH_S:.0f} s are allowed"
        )
    _compare(scorer, scores, expected_scores([row.compiled for row in rows], scores))


def _compare(scorer: Scorer, scores: Floats, expected: Floats) -> None:
    """A score may not depend on what else is in the micro-batch."""
    output = scorer.manifest.output
    difference = float(np.max(np.abs(scores - expected)))
    if not difference <= (0.0 if output.exact else output.tolerance):
        raise BundleRejected(f"trial: in a micro-batch of {len(scores)} the golden rows differ by {difference:.3g}")


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # nothing of what the bundle left behind is taken apart
