"""What the steps of the pipeline ask for and hand on: small values that are JSON, so that a scheduler can carry them.

Files are named by path; nothing here holds rows. ``to_json`` and ``from_json`` turn every one of them into builtins
and back.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from scoring.contract.digest import Digest
from scoring.contract.notice import ModelName
from scoring.contract.verdict import Judgement, Verdict
from scoring.scorer.probed import Probed
from training.measured import Calibration, Comparison, DataFacts, LeakFacts, Range, Resampling, SharedPeriod, Slices
from training.tunable import Setting
from training.wake import WakeUp

Result = TypeVar("Result", bound=msgspec.Struct)


def to_json(result: msgspec.Struct | None) -> Any:
    """The result as builtins that JSON can hold; None stays None."""
    return None if result is None else msgspec.to_builtins(result)


def from_json(kind: type[Result], value: Any) -> Result:
    """The result of type ``kind`` from the builtins that ``to_json`` made.

    Raises:
        msgspec.ValidationError: they are something else.
    """
    return msgspec.convert(value, kind)


class Purpose(StrEnum):
    """What a run is for.

    Attributes:
        PROMOTION: a new champion.
        DRY_RUN: to see what would become of it: a candidate that is trained, judged and kept.
        BACKFILL: the same for an old interval.
    """

    PROMOTION = "promotion"
    DRY_RUN = "dry_run"
    BACKFILL = "backfill"


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the pipeline.

    Attributes:
        start, end: the data interval ``[start, end)`` of event time.
        run_id: stable across retries; the ledger keeps one entry per run and candidate (protocol A.3).
        requested_at: when the run was asked for; stable across retries.
        effective_from: event time from which the new version counts; None is the moment of the decision.
        force: promote in spite of an older interval or an earlier rollback; never in spite of a gate.
        parameters: of the estimator, in place of the definition's.
        purpose: what the run is for; only one for a promotion may end in one.
        refresh: pull again what was pulled before, and tell how it differs.
        woken: what started the run, where an event did.
    """

    model: ModelName
    start: datetime
    end: datetime
    run_id: str
    requested_at: datetime
    actor: str
    effective_from: datetime | None = None
    force: bool = False
    reason: str = ""
    parameters: Mapping[str, Setting] = {}
    purpose: Purpose = Purpose.PROMOTION
    refresh: bool = False
    woken: WakeUp | None = None

    @property
    def labels_known_by(self) -> datetime:
        """Labels that became known later than this do not exist for the run."""
        return self.requested_at if self.effective_from is None else min(self.effective_from, self.requested_at)


class PulledSource(msgspec.Struct, frozen=True, kw_only=True):
    """What was pulled of one source, kept on disk.

    Attributes:
        source: its name.
        key: of the pull; what it is kept under.
        sha256: of the rows.
        newest: the last time among the rows; None where the source has no time.
        pulled_at: when it was read, which may have been for an earlier run.
        seconds: how long that took.
        reused: it had been pulled before, and was not read again.
        added, removed: rows that came and went since it had been read before; None where nothing is compared.
        sentence: all that for people.
    """

    source: str
    key: Digest
    sha256: Digest
    rows: int
    newest: datetime | None
    pulled_at: datetime
    seconds: float
    reused: bool
    added: int | None = None
    removed: int | None = None
    sentence: str


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the sources with what was looked up for them, staged on disk.

    Attributes:
        labels_missing: rows whose label is null in the source.
        labels_not_yet_known: rows whose label was withheld because it was not known by ``labels_known_by``.
        reused: an earlier backfill of the interval had looked everything up.
    """

    path: str
    rows: int
    labels_missing: int
    labels_not_yet_known: int
    reused: bool = False


class SnapshotRef(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot in the store.

    Attributes:
        reused: the store already held exactly this content.
    """

    path: str
    sha256: Digest
    start: datetime
    end: datetime
    rows: int
    labels_missing: int
    labels_not_yet_known: int
    reused: bool


class Validated(msgspec.Struct, frozen=True, kw_only=True):
    """What the suite says about the snapshot.

    Attributes:
        expectations: how many were evaluated.
        failed: a sentence for each that does not hold.
        data: what the snapshot holds, also where the suite refuses it.
    """

    verdict: Verdict
    expectations: int
    failed: tuple[str, ...] = ()
    data: DataFacts | None = None


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate: a folder with the compiled model and all that evaluation and bundle need.

    Attributes:
        rows_without_label: left out of training and holdout.
        rows_in_gap: left out because their label was not known when the holdout began.
        rows_unscorable: left out because they lack a required field; a worker would make them dead letters.
        refit_folder: the same model fitted on the holdout too, where the definition asks for it: the one that will
            score, while the one in ``folder`` is judged.
        refit_rows: it was fitted on so many.
        key: of what it was trained from (``training.reuse``).
        reused: an earlier run had trained it.
    """

    folder: str
    holdout_start: datetime
    training_rows: int
    holdout_rows: int
    rows_without_label: int
    rows_in_gap: int
    rows_unscorable: int
    refit_folder: str | None = None
    refit_rows: int = 0
    key: Digest | None = None
    reused: bool = False


class BaselineKind(StrEnum):
    """What a candidate is held against."""

    CHAMPION = "champion"
    TRIVIAL = "trivial"


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The champion, or the trivial baseline when there is none, on the candidate's holdout rows.

    Attributes:
        version, sequence: the champion's; None for the trivial baseline.
        trained_until: event times of the champion's training rows lie in ``[trained_from, trained_until)``.
        error: why there is no usable baseline; then there are no metrics either.
    """

    kind: BaselineKind
    metrics: Mapping[str, float] = {}
    version: str | None = None
    sequence: int | None = None
    trained_from: datetime | None = None
    trained_until: datetime | None = None
    error: str | None = None


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The compiled model against the estimator over the whole holdout.

    Attributes:
        exact: the model was compiled to be equal bit for bit.
        largest_difference: of the scores; None where one is not a number, or scores are missing.
        changed_decisions: under the definition's threshold, 0 where there is none; of several classes, where another
            one is the most probable.
        different_rows: rows whose scores are not equal bit for bit.
    """

    exact: bool
    tolerance: float
    rows: int
    different_rows: int
    largest_difference: float | None
    changed_decisions: int


class LoadProbe(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle in a fresh process that has only the scoring side (``training.load``).

    Attributes:
        built_for: versions of the packages that made the bundle.
        probed: what was measured; None where the bundle did not get so far.
        refused: why the bundle did not load, or what ended it.
        error: why it could not be tried.
    """

    built_for: Mapping[str, str] = {}
    probed: Probed | None = None
    refused: str | None = None
    error: str | None = None


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence about a candidate, all of it on the holdout.

    Attributes:
        intervals: of the metrics, two-sided.
        comparisons: with the baseline, metric by metric.
        baseline_calibration: the baseline's, on the same rows.
        shared_period: rows then and now; None where there is no champion, or nothing to compare.
        refit_parity: of the model that was fitted on the holdout too; None where the definition asks for none.
    """

    metrics: Mapping[str, float]
    baseline: Baseline
    parity: Parity
    rows: int
    intervals: Mapping[str, Range] = {}
    resampling: Resampling | None = None
    comparisons: tuple[Comparison, ...] = ()
    calibration: Calibration | None = None
    baseline_calibration: Calibration | None = None
    slices: Slices | None = None
    leaks: LeakFacts | None = None
    shared_period: SharedPeriod | None = None
    refit_parity: Parity | None = None
    load: LoadProbe | None = None


class Gated(msgspec.Struct, frozen=True, kw_only=True):
    """All verdicts.

    Attributes:
        sentence: why the candidate is accepted or refused, for people.
        red: a refusal that somebody has to look into (data, parity, an error), not merely a worse model.
        parent: the ledger's sequence that the verdicts hold on top of, 0 for none; None where nothing was evaluated.
    """

    verdicts: tuple[Verdict, ...]
    sentence: str
    red: bool
    parent: int | None

    @property
    def accepted(self) -> bool:
        """Every gate passed that is not turned off, and one did."""
        passed = any(verdict.judgement is Judgement.PASS for verdict in self.verdicts)
        return passed and all(verdict.lets_through for verdict in self.verdicts)


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The run in the registry, and the version where the gates accepted the candidate.

    Attributes:
        version: None for a refused candidate: it gets a run with its evidence, but no version.
        manifest_digest: the candidate's id; None for a refused candidate.
        registry_run: id of the run in the registry that holds parameters, metrics and verdicts; None where the
            registry keeps no runs.
        reused: the version is one that an earlier run for the same interval, data and code registered.
    """

    version: str | None
    manifest_digest: Digest | None
    bundle: str | None
    registry_run: str | None
    reused: bool = False


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """The entry of the ledger that the run made, or why it made none.

    Attributes:
        sequence: None where the promotion was refused.
        refused: the rule that forbids it, as a sentence.
        refusal: its name in ``training.refusals``.
        red: a refusal that somebody has to look into.
    """

    model: ModelName
    sequence: int | None
    version: str | None
    manifest_digest: Digest | None = None
    refused: str | None = None
    refusal: str | None = None
    red: bool = False


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said to the promotion of a candidate, where the definition asks for one.

    Attributes:
        manifest_digest: of the candidate that was shown; the answer holds for no other.
        by: the person's name; None where nobody answered in time, which approves nothing.
        reason: what they wrote, or empty.
    """

    manifest_digest: Digest
    approved: bool
    by: str | None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """Who said what, for logs and the ledger."""
        if self.by is None:
            return "nobody approved it in time"
        return f"{'approved' if self.approved else 'rejected'} by {self.by}" + (
            f": {self.reason}" if self.reason else ""
        )


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an accepted candidate that was not meant to be promoted.

    Attributes:
        reused: as in ``Registered``.
    """

    version: str | None
    purpose: Purpose
    reused: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run that ended well promoted nothing.

    Attributes:
        refusals: the gates that failed, or the refusal's name in ``training.refusals``.
        by: the person who rejected it.
    """

    refusals: tuple[str, ...]
    sentence: str
    by: str | None = None


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What alias and notice say after they were made equal to the ledger's head.

    Attributes:
        sequence: the head's, which may be newer than the run's own.
    """

    sequence: int
    version: str | None


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """How the promotion ended at the workers (protocol A.11).

    Attributes:
        state: the word of ``scoring.promotion``: converged, superseded, unserved, refused, timed out.
        green: the run ends well.
    """

    state: str
    green: bool
    sentence: str
