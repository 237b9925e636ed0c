"""Decode, enrich, encode and score the records of requests, as the stream's: the same steps, and other ends."""

from collections.abc import Sequence

import msgspec

from scoring.contract.dead_letter import Reason
from scoring.lookups.port import LookupSource
from scoring.scorer.decode import Failure
from scoring.worker.halving import halved
from scoring.worker.metrics import DECODE, EMIT
from scoring.worker.models import Active
from scoring.worker.scoring_step import scored
from scoring.worker.screening import timely


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A record of a request: its own JSON, and when it arrived, in seconds since 1970."""

    value: bytes
    at_s: float


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What became of a record.

    Attributes:
        json: its prediction, without lineage and place in a topic (``Emitter.answers``).
        score: a number, or the probabilities of several classes.
        decision: None where there is no threshold.
    """

    json: bytes
    score: float | list[float]
    decision: bool | None


Result = Answer | Failure


def results_of(active: Active, records: Sequence[Sent], lookups: LookupSource) -> list[Result]:
    """One result per record, in their order.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now.
    """

    def condemned(_record: Sent, detail: str) -> Result:
        return Failure(0, Reason.UNSCORABLE, detail)

    return halved(records, lambda part: _results(active, part, lookups), condemned, model=active.model)


def _results(active: Active, records: Sequence[Sent], lookups: LookupSource) -> list[Result]:
    scorer = active.scorer
    decoded = scorer.decode([record.value for record in records])
    decoded = timely(decoded, [records[row].at_s for row in decoded.rows], scorer.schema)
    scorer.lap(DECODE)
    found = scored(scorer, decoded, lookups)
    texts = active.emitter.answers(found.columns, found.scores, found.decided)
    decided: Sequence[bool | None] = found.decided or [None] * len(texts)
    results: list[Result | None] = [None] * len(records)
    for row, text, score, decision in zip(found.rows, texts, found.scores.tolist(), decided, strict=True):
        results[row] = Answer(text, score, decision)
    for failure in found.failures:
        results[failure.index] = failure
    scorer.lap(EMIT)
    return [result for result in results if result is not None]
