"""Explain: from what is on record of one record to its explanation. A function on values, without any I/O."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import msgspec

from scoring.contract.acknowledgement import Acknowledgement, Position
from scoring.contract.clock import from_epoch_ms
from scoring.contract.dead_letter import DeadLetter
from scoring.contract.prediction import Prediction
from scoring.contract.replay import Replayed
from scoring.explain.explanation import Contributions, Explanation, Header, Input, Lag, LetterShown, Rescored
from scoring.explain.features import carried, enrichment_of, features_of, fields_of
from scoring.explain.judging import Judge, Raw, field_to_blame, remedy
from scoring.explain.rescoring import Columned, impossible, not_carried, rescore
from scoring.explain.why import why_live
from scoring.letters.text import as_text
from scoring.promotion.entry import LedgerEntry
from scoring.scorer.scorer import Scorer


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is on record of one record; what is None could not be had, and ``missing`` says why.

    Attributes:
        place: of the record in the input topic.
        record: as it stands there.
        prediction, letter: its outcome; at most one of them.
        prediction_place, letter_place: where that stands.
        scorer: of the bundle that made the outcome.
        then, today: judge the record of a dead letter: the version that refused it, and the present champion.
        entries: the model's in the ledger.
        acknowledgements: the model's.
        contributions: what each feature contributes, for whoever wants to know.
    """

    model: str
    place: Position
    record: Raw | None = None
    prediction: Prediction | None = None
    prediction_place: Position | None = None
    letter: DeadLetter | None = None
    letter_place: Position | None = None
    scorer: Scorer | None = None
    then: Judge | None = None
    today: Judge | None = None
    entries: Sequence[LedgerEntry] | None = None
    acknowledgements: Sequence[Acknowledgement] | None = None
    contributions: Callable[[Scorer, Columned], Contributions | None] | None = None
    missing: tuple[str, ...] = ()


def explain(evidence: Evidence) -> Explanation:
    """What happened to the record, and what comes of scoring it again."""
    found = Explanation(
        model=evidence.model,
        place=evidence.place,
        input=_input(evidence.record),
        missing=evidence.missing,
    )
    if evidence.prediction is not None:
        found = msgspec.structs.replace(
            found, lag=_lag(found.input, evidence.prediction.event_time, evidence.prediction.scored_at)
        )
        return _with_prediction(found, evidence, evidence.prediction)
    if evidence.letter is not None:
        found = msgspec.structs.replace(found, lag=_lag(found.input, None, evidence.letter.at))
        return _with_letter(found, evidence, evidence.letter)
    return found


def _lag(record: Input | None, event: datetime | None, outcome: datetime) -> Lag:
    recorded = None if record is None else record.timestamp
    return Lag(
        event_to_record_s=_seconds(event, recorded),
        record_to_outcome_s=_seconds(recorded, outcome),
        event_to_outcome_s=_seconds(event, outcome),
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _input(record: Raw | None) -> Input | None:
    if record is None:
        return None
    return Input(
        key=as_text(record.key),
        value=as_text(record.value),
        headers=tuple(Header(name, as_text(value)) for name, value in record.headers),
        timestamp=from_epoch_ms(record.timestamp_ms) if record.timestamp_ms >= 0 else None,
        replayed=Replayed.from_headers(record.headers),
    )


def _with_prediction(found: Explanation, evidence: Evidence, prediction: Prediction) -> Explanation:
    why = why_live(
        evidence.place,
        prediction.sequence,
        prediction.version,
        prediction.manifest_digest,
        evidence.entries,
        evidence.acknowledgements,
    )
    found = msgspec.structs.replace(
        found,
        prediction=prediction,
        prediction_place=evidence.prediction_place,
        why=why,
        rescored=_impossible(evidence),
    )
    if evidence.scorer is None or evidence.record is None:
        return msgspec.structs.replace(found, enrichment=carried(prediction.lookups))
    return _with_scores(found, evidence, evidence.scorer, evidence.record, prediction)


def _with_scores(
    found: Explanation, evidence: Evidence, scorer: Scorer, record: Raw, prediction: Prediction
) -> Explanation:
    """With the features as the model saw them, and scored again."""
    columned = Columned(scorer, record.value, prediction)
    again = rescore(scorer, columned, prediction)
    found = msgspec.structs.replace(found, rescored=again, threshold=scorer.manifest.output.threshold)
    if columned.columns is None or scorer.bundle.digest != prediction.manifest_digest:
        return found
    columns, tell = columned.columns, evidence.contributions
    return msgspec.structs.replace(
        found,
        fields=fields_of(scorer.schema, columns),
        enrichment=enrichment_of(scorer.schema, columns, prediction.lookups),
        features=features_of(scorer, columns),
        contributions=None if tell is None else tell(scorer, columned),
        missing=(*found.missing, *not_carried(scorer, prediction)),
    )


def _impossible(evidence: Evidence) -> Rescored:
    """Said where the record or the bundle is missing."""
    return impossible("; ".join(_lacking(evidence)) or "nothing is missing")


def _lacking(evidence: Evidence) -> Iterator[str]:
    if evidence.record is None:
        yield "the record is gone"
    if evidence.scorer is None:
        yield "the bundle cannot be had"


def _with_letter(found: Explanation, evidence: Evidence, letter: DeadLetter) -> Explanation:
    record, scorer = evidence.record, evidence.scorer
    then = None if evidence.then is None or record is None else evidence.then.judge(record)
    shown = LetterShown(
        told=letter,
        place=evidence.letter_place,
        field=field_to_blame(letter, then),
        remedy=remedy(letter),
        then=then,
        today=None if evidence.today is None or record is None else evidence.today.judge(record),
    )
    digest = None if scorer is None else scorer.bundle.digest
    why = why_live(evidence.place, letter.sequence, letter.version, digest, evidence.entries, evidence.acknowledgements)
    found = msgspec.structs.replace(found, letter=shown, why=why)
    if scorer is None or record is None:
        return found
    decoded = scorer.decode([record.value])
    if decoded.failures:
        return found
    return msgspec.structs.replace(found, fields=fields_of(scorer.schema, decoded.columns))
