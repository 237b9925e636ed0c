"""Gate: the bundle loads and scores within its budget, in a fresh process that has only the scoring side."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from scoring.contract.verdict import Judgement, Verdict
from scoring.scorer.probed import Probed
from training.budget import LoadBudget
from training.gates.evidence import Evidence, NotMeasured

NAME = "load"
# None of these may be older, by its first two numbers, than what the bundle was built for: an older ONNX Runtime may
# run the graph otherwise, an older Baton read the manifest otherwise. No other package has a part in a score.
PACKAGES = ("baton", "numpy", "onnxruntime")


class Held(NamedTuple):
    """One measurement and what it was held against; ``what`` continues a sentence."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.value / self.limit

    @property
    def sentence(self) -> str:
        """The measurement, for people."""
        return f"{self.what} {self.value:.4g} {self.unit} ({self.limit:.4g} allowed)"


def gate(evidence: Evidence) -> Verdict:
    """Loading, memory, first prediction and every micro-batch are within the budget, and no package is older.

    The verdict's number is the measurement that comes nearest to its limit, or exceeds it most.

    Raises:
        NotMeasured: nothing was tried, or the process could not be started.
    """
    found = evidence.evaluation().load
    if found is None:
        raise NotMeasured("not measured: the bundle was not loaded in a process of its own")
    if found.error is not None:
        raise NotMeasured(found.error)
    if found.probed is None:
        return Verdict(gate=NAME, judgement=Judgement.FAIL, sentence=found.refused or "the bundle did not load")
    measured = list(_held(found.probed, evidence.definition.gates.load))
    worst = max(measured, key=lambda held: held.share)
    problems = [held.sentence for held in measured if not held.share <= 1.0]
    problems += _older(found.built_for, found.probed.versions)
    return Verdict(
        gate=NAME,
        judgement=Judgement.FAIL if problems else Judgement.PASS,
        sentence=f"in a fresh process of the scoring side: {'; '.join(problems) or _summary(measured, worst)}",
        value=worst.value,
        limit=worst.limit,
    )


def _held(probed: Probed, budget: LoadBudget) -> Iterator[Held]:
    """Every measurement that the budget limits.

    Raises:
        NotMeasured: a micro-batch of the budget was not measured.
    """
    yield Held("loading takes", probed.load_s, budget.load_s, "s")
    yield Held("it holds", probed.peak_bytes / 2**20, budget.resident_bytes / 2**20, "MiB of memory")
    yield Held("the first prediction takes", probed.first_prediction_ms, budget.first_prediction_ms, "ms")
    times = {batch.records: batch for batch in probed.batches}
    missing = [size for size in budget.sizes if size not in times]
    if missing or probed.peak_bytes <= 0:
        raise NotMeasured(f"not measured: micro-batches of {missing}" if missing else "not measured: memory")
    for records, limit in budget.p50_ms.items():
        yield Held(f"half of the micro-batches of {records:,} take", times[records].p50_ms, limit, "ms")
    for records, limit in budget.p99_ms.items():
        yield Held(f"99 of 100 micro-batches of {records:,} take", times[records].p99_ms, limit, "ms")


def _summary(measured: list[Held], worst: Held) -> str:
    told = dict.fromkeys([*measured[:2], worst])
    return f"{', '.join(held.sentence for held in told)}, with no package older than those it was built for"


def _older(built_for: Mapping[str, str], present: Mapping[str, str]) -> Iterator[str]:
    for package in PACKAGES:
        wanted, found = built_for.get(package), present.get(package)
        if wanted is None:
            yield f"the manifest does not say which {package} it was built for"
        elif found is None:
            yield f"it was built for {package} {wanted}, which is not installed"
        elif _first_two(found) < _first_two(wanted):
            yield f"it was built for {package} {wanted}, but {found} is installed"


def _first_two(version: str) -> tuple[int, ...]:
    numbers = [int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2]]
    return tuple(numbers)
