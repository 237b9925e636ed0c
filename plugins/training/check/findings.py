"""What a check found: sentences with a place and a remedy, and the numbers and curves behind them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from scoring.contract.verdict import Verdict
from training.results import BaselineKind


class Level(StrEnum):
    """How much a finding weighs: an error has to be mended, a warning looked at, a note is there to be known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Section(StrEnum):
    """What a finding is about, in the order in which it is told."""

    DEFINITION = "definition"
    SOURCE = "source"
    DATA = "data"
    SPLIT = "training and holdout"
    LOOKUPS = "lookups"
    GATES = "gates"
    SCORING = "scoring"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found.

    Attributes:
        about: the column, feature or gate, where there is one.
        remedy: what to do; empty where the sentence says it.
        line: of the definition's file; None where no line is to blame.
    """

    section: Section
    level: Level
    sentence: str
    remedy: str = ""
    about: str | None = None
    file: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """``file:line`` as editors open it, or as much of it as is known."""
        return "" if self.file is None else self.file if self.line is None else f"{self.file}:{self.line}"


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that were looked at.

    Attributes:
        rows: of the source in the interval.
        every: one row of so many was taken, in the order of their time.
        start, end: of the interval.
        training_rows, holdout_rows: of the sample; None where nothing was split.
    """

    rows: int
    sampled: int
    every: int
    start: datetime
    end: datetime
    holdout_start: datetime
    training_rows: int | None = None
    holdout_rows: int | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the candidate.

    Attributes:
        verdicts: of the gates.
        metrics, baseline: on the holdout, by name; the baseline's beside the candidate's.
        power: what each feature by itself tells about the label, in ``power_measure``.
        bundle_bytes: of all files.
    """

    verdicts: tuple[Verdict, ...]
    metrics: Mapping[str, float]
    baseline: Mapping[str, float]
    baseline_kind: BaselineKind
    power: Mapping[str, float]
    power_measure: str
    single_feature: float
    bundle_bytes: int


Points = Sequence[tuple[float, float]]


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """What the page draws.

    Attributes:
        roc: curves by name: the model's, or one for each class.
        actual: of a number: pairs (what came, what was predicted).
        scores: histograms by the class that came, each of shares by the places ``score_edges``.
    """

    roc: Mapping[str, Points] = {}
    actual: Points = ()
    score_edges: tuple[float, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = {}


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer.

    Attributes:
        file: of the definition.
        steps: those that were done, with the seconds that each took.
        judged, drawn: None where it did not come to that.
    """

    model: str
    file: str
    task: str | None = None
    findings: tuple[Finding, ...] = ()
    steps: Mapping[str, float] = {}
    sample: Sampled | None = None
    judged: Judged | None = None
    drawn: Drawn | None = None

    @property
    def fine(self) -> bool:
        """Nothing has to be mended."""
        return all(finding.level is not Level.ERROR for finding in self.findings)


def count(findings: Iterable[Finding], level: Level) -> int:
    """How many findings are of a level."""
    return sum(finding.level is level for finding in findings)
