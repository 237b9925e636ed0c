"""The explanation of what happened to one record. Everything in it can be written as JSON."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter
from scoring.contract.golden import Value
from scoring.contract.prediction import Prediction
from scoring.contract.replay import Replayed
from scoring.letters.text import Text
from scoring.promotion.entry import LedgerEntry


class Verdict(StrEnum):
    """What came of scoring again."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    IMPOSSIBLE = "impossible"


class Header(msgspec.Struct, frozen=True):
    """One header of a record."""

    name: str
    value: Text | None


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The record as it stands in the input topic.

    Attributes:
        timestamp: Kafka's; None where the topic has none, or nobody knows.
        replayed: the dead letter that it was, where it is a replay.
    """

    key: Text | None
    value: Text | None
    headers: tuple[Header, ...] = ()
    timestamp: datetime | None = None
    replayed: Replayed | None = None


class FieldShown(msgspec.Struct, frozen=True, kw_only=True):
    """A declared field as it was decoded; times in RFC 3339, missing is null."""

    name: str
    type: str
    value: Value


class LookedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A looked-up value.

    Attributes:
        source: ``prediction`` carries it, the ``bundle`` has it frozen, it was asked for ``now``, or it is ``missing``
            although the prediction should carry it.
    """

    lookup: str
    field: str
    value: Value
    source: str


class FeatureShown(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the matrix as the model saw it.

    Attributes:
        value: exactly; None where it is no finite number, and ``exact`` says which.
        exact: the float64 as text that reads back as the same number.
        how: how it comes from fields and looked-up values, in words.
        of: these, with their values.
    """

    name: str
    value: float | None
    exact: str
    how: str
    of: Mapping[str, Value]


class Rescored(msgspec.Struct, frozen=True, kw_only=True):
    """The record scored again, now, here.

    Attributes:
        causes: why it differs or is impossible, as far as can be found out.
        kernel: what ran the compiled model (``Scorer.kernel``).
        installed: the versions of the libraries that had a part in it.
    """

    verdict: Verdict
    causes: tuple[str, ...] = ()
    score: float | None = None
    decision: bool | None = None
    label: str | None = None
    probabilities: Mapping[str, float] | None = None
    kernel: str | None = None
    installed: Mapping[str, str] = {}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter's record, judged again by one version.

    Attributes:
        scored: it would be scored; otherwise ``reason`` and ``detail`` say why not, and ``field`` where.
        unasked: lookups that were not asked, with the reason; without them the judgement is not complete.
    """

    version: str
    sequence: int
    scored: bool
    score: float | None = None
    decision: bool | None = None
    label: str | None = None
    reason: str | None = None
    detail: str | None = None
    field: str | None = None
    unasked: tuple[str, ...] = ()


class LetterShown(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a dead letter.

    Attributes:
        place: where it stands; None where nobody knows.
        field: the field that is to blame, or the lookup; None where it is neither.
        remedy: what would have to change.
        then: judged again by the version that refused it.
        today: judged by the present champion.
    """

    told: DeadLetter
    place: Position | None
    field: str | None
    remedy: str
    then: Judged | None = None
    today: Judged | None = None


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's swap, from its acknowledgement.

    Attributes:
        offset: the first of the partition that the sequence scored there.
        records: how many offsets lie between it and the record; negative where the swap came after the record.
    """

    sequence: int
    version: str
    worker: str
    at: datetime
    partition: int
    offset: int
    records: int


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why that version was live.

    Attributes:
        entry: the ledger's, of the sequence that scored it.
        replaced_by: the entry after that.
        swap: the one that made the sequence live on the record's partition.
        next_swap: the one that ended it there.
        nearest: of the two the one that is nearer to the record.
        problems: what does not fit together, or could not be read.
    """

    entry: LedgerEntry | None = None
    replaced_by: LedgerEntry | None = None
    swap: Swap | None = None
    next_swap: Swap | None = None
    nearest: Swap | None = None
    problems: tuple[str, ...] = ()


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """How much one feature moved the raw score."""

    feature: str
    value: float


class Contributions(msgspec.Struct, frozen=True, kw_only=True):
    """What each feature contributed to the raw score, before the link; they add up to it with ``base``.

    Attributes:
        base: the mean raw score of the bundle's golden rows, which the record is held against.
        raw: the record's raw score.
        off_by: by how much base and contributions miss it.
        link: what turns the raw score into the score.
        label: of several classes the one whose raw score it is.
    """

    base: float
    raw: float
    off_by: float
    link: str
    label: str | None = None
    parts: tuple[Contribution, ...]


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How long things took, in seconds; None where one of the two moments is not known.

    Attributes:
        event_to_record_s: from the event to the record's timestamp in the input topic.
        record_to_outcome_s: from there until it was scored or refused.
        event_to_outcome_s: both.
    """

    event_to_record_s: float | None = None
    record_to_outcome_s: float | None = None
    event_to_outcome_s: float | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one record.

    Attributes:
        sound: whether everything that was found agrees: an identical score, and nothing in the ledger against it.
            Follows from the rest, as does the next.
        headline: which record, and what became of it, in a line.
        place: the record's, in the input topic.
        input: None where the record is gone.
        prediction, letter: at most one of them; none where no outcome is to be found.
        prediction_place: where the prediction stands.
        threshold: of the version that scored it.
        fields, enrichment, features: as the model saw them, as far as they can be had.
        missing: what could not be had, a sentence each.
    """

    sound: bool = False
    headline: str = ""
    model: str
    place: Position
    input: Input | None = None
    prediction: Prediction | None = None
    prediction_place: Position | None = None
    letter: LetterShown | None = None
    threshold: float | None = None
    lag: Lag | None = None
    fields: tuple[FieldShown, ...] = ()
    enrichment: tuple[LookedUp, ...] = ()
    features: tuple[FeatureShown, ...] = ()
    rescored: Rescored | None = None
    why: Why | None = None
    contributions: Contributions | None = None
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Who reads the JSON sees the answer first, and need not work it out."""
        msgspec.structs.force_setattr(self, "sound", self._is_sound())
        msgspec.structs.force_setattr(self, "headline", self._headline())

    def _headline(self) -> str:
        where = f"{self.place.topic}, partition {self.place.partition}, offset {self.place.offset}"
        if self.prediction is not None:
            return f"{where}: scored {self.prediction.score!r} by {self.model} version {self.prediction.version}"
        if self.letter is not None:
            told = self.letter.told
            return f"{where}: a dead letter, {told.reason.value}, by {self.model} version {told.version}"
        return f"{where}: no outcome"

    def _is_sound(self) -> bool:
        fits = self.why is not None and not self.why.problems
        if self.prediction is None:
            return self.letter is not None and fits
        return fits and self.rescored is not None and self.rescored.verdict is Verdict.IDENTICAL
