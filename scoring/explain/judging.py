"""Judges the record of a dead letter again, as a worker does: decode, screen, look up, score."""

from typing import cast

import msgspec

from scoring.contract.dead_letter import DeadLetter, Reason
from scoring.contract.encoder import Column
from scoring.contract.errors import BatonError
from scoring.contract.features import FrozenLookup
from scoring.explain.explanation import Judged
from scoring.kafka import RecordHeaders
from scoring.lookups.port import LookupSource
from scoring.scorer.blame import field_of
from scoring.scorer.decode import Decoded, Failure
from scoring.scorer.scorer import Scorer, described, finite, lookup_columns
from scoring.worker.screening import answered, timely, too_large

_REMEDIES = {
    Reason.NULL_VALUE: "the sender has to give the record a value: null is no record",
    Reason.MALFORMED_JSON: "the sender has to write JSON in UTF-8",
    Reason.WRONG_TYPE: "the sender has to write the field in the declared type, or the definition declares another one",
    Reason.MISSING_FIELD: "the sender has to write the field, or the definition no longer requires it",
    Reason.NON_FINITE: "the sender has to write a number that float64 can hold",
    Reason.UNSCORABLE: "the model fails on this record: another version has to be promoted",
    Reason.TOO_LARGE: "the record has to be smaller, or the definition's `records` allows more",
    Reason.TOO_DEEP: "the record has to be nested less deeply, or the definition's `records` allows more",
    Reason.REPEATED_KEY: "the sender has to write each key once, or the definition's `records` ignores repeated keys",
    Reason.UNKNOWN_FIELD: "the sender leaves the field out, or the definition declares it or ignores unknown fields",
    Reason.NULL_CHARACTER: "the sender has to leave U+0000 out, or the definition's `records` ignores it",
    Reason.CLOCK_OFF: "the sender's clock has to be set, or the definition's `records` allows a larger distance",
    Reason.LOOKUP_MISS: "the looked-up table has to have a row for it, or the lookup says `on_miss` otherwise",
    Reason.LOOKUP_OUTAGE: "the looked-up source has to answer; a replay then scores the record",
}


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it stands in the input topic.

    Attributes:
        timestamp_ms: negative where the topic has none.
    """

    key: bytes | None
    value: bytes | None
    headers: RecordHeaders = []
    timestamp_ms: int = -1


class Judge:
    """One version that judges records.

    Args:
        lookups: asks for what is not frozen into the bundle; None leaves it unasked.
    """

    def __init__(self, scorer: Scorer, *, version: str, sequence: int, lookups: LookupSource | None = None) -> None:
        self._scorer = scorer
        self._version = version
        self._sequence = sequence
        self._lookups = lookups

    def judge(self, record: Raw) -> Judged:
        """What becomes of the record now."""
        decoded = _screened(self._scorer.decode([record.value]), record, self._scorer)
        if decoded.failures:
            return self._failed(decoded.failures[0])
        looked_up, unasked = self._looked_up(decoded)
        decoded = answered(decoded, looked_up, self._scorer.schema)
        if decoded.failures:
            return self._failed(decoded.failures[0], unasked)
        return self._scored(decoded, unasked)

    def _scored(self, decoded: Decoded, unasked: tuple[str, ...]) -> Judged:
        try:
            scores = self._scorer.score(decoded.columns, 1)
        except Exception as error:  # whatever a record makes the model or a library raise
            return self._failed(
                Failure(0, Reason.UNSCORABLE, f"the model failed on it: {type(error).__name__}"), unasked
            )
        if not finite(scores).all():
            return self._failed(Failure(0, Reason.UNSCORABLE, "its score is not a finite number"), unasked)
        decisions = self._scorer.decide(scores)
        (found,) = described(self._scorer.manifest.output.classes, scores)
        return Judged(
            version=self._version,
            sequence=self._sequence,
            scored=True,
            score=cast("float", found["score"]),
            decision=None if decisions is None else bool(decisions[0]),
            label=cast("str | None", found.get("label")),
            unasked=unasked,
        )

    def _failed(self, failure: Failure, unasked: tuple[str, ...] = ()) -> Judged:
        return Judged(
            version=self._version,
            sequence=self._sequence,
            scored=False,
            reason=failure.reason.value,
            detail=failure.detail,
            field=failure.field,
            unasked=unasked,
        )

    def _looked_up(self, decoded: Decoded) -> tuple[dict[str, Column], tuple[str, ...]]:
        """The looked-up columns, and which lookups were not asked."""
        scorer = self._scorer
        frozen = scorer.frozen(decoded.columns, 1)
        asked = [lookup.name for lookup in scorer.schema.lookups if not isinstance(lookup, FrozenLookup)]
        if not asked:
            return frozen, ()
        missing = lookup_columns(scorer, [{}])
        if self._lookups is None:
            return {**missing, **frozen}, (f"{', '.join(asked)}: nobody was asked; taken as missing",)
        try:
            return {**self._lookups.resolve(scorer.schema, decoded.columns, 1), **frozen}, ()
        except BatonError as error:
            return {**missing, **frozen}, (f"{', '.join(asked)}: {error}; taken as missing",)


def _screened(decoded: Decoded, record: Raw, scorer: Scorer) -> Decoded:
    """What stands around the value (``worker.screening.screened`` for one record)."""
    if decoded.failures:
        return decoded
    fault = too_large(record.key, record.headers, scorer.schema.records)
    if fault is not None:
        return decoded.without({0: fault})
    moment = record.timestamp_ms / 1000.0 if record.timestamp_ms >= 0 else float("nan")
    return timely(decoded, [moment], scorer.schema)


def field_to_blame(letter: DeadLetter, then: Judged | None) -> str | None:
    """The field or lookup that a dead letter's sentence names, or else the same failure judged again.

    Args:
        then: judged again by the version that refused it.
    """
    named = field_of(letter.detail)
    again = None if then is None or then.reason != letter.reason else then.field
    return again if named is None else named


def remedy(letter: DeadLetter) -> str:
    """What would have to change for such a record to be scored."""
    return _REMEDIES[letter.reason]
