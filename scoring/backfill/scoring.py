"""Score: the outcome of every record of a chunk, through what scores the stream. No record vanishes."""

from collections.abc import Iterator, Sequence

import numpy as np

from scoring.contract.dead_letter import Reason
from scoring.lookups.port import LookupSource
from scoring.scorer.decode import Decoded, Failure
from scoring.scorer.scorer import Scorer, finite
from scoring.worker import scoring_step
from scoring.worker.halving import halved
from scoring.worker.scoring_step import Scored

BATCH_RECORDS = 4_096
"""Scored at once: as many as a worker's largest micro-batch, whatever the chunk holds."""


def scored(scorer: Scorer, lookups: LookupSource, decoded: Decoded) -> Iterator[Scored]:
    """The outcomes of records, batch by batch, of each either a score or a failure; one fails alone.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now.
    """

    def score(places: Sequence[int]) -> list[Scored]:
        return [_numbers_only(scoring_step.scored(scorer, _part(decoded, places), lookups))]

    def condemned(place: int, detail: str) -> Scored:
        return _failed([Failure(decoded.rows[place], Reason.UNSCORABLE, detail)])

    if decoded.failures:
        yield _failed(decoded.failures)
    for first in range(0, len(decoded.rows), BATCH_RECORDS):
        places = range(first, min(first + BATCH_RECORDS, len(decoded.rows)))
        yield from halved(places, score, condemned, model=scorer.manifest.model)


def _part(decoded: Decoded, places: Sequence[int]) -> Decoded:
    here = slice(places[0], places[-1] + 1)
    return Decoded({name: column[here] for name, column in decoded.columns.items()}, decoded.rows[here], [])


def _numbers_only(found: Scored) -> Scored:
    """Without the rows whose score is not a number: those are among the failures too."""
    there = finite(found.scores)
    if there.all():
        return found
    places = np.flatnonzero(there)
    columns = {
        name: column[places] if isinstance(column, np.ndarray) else [column[place] for place in places.tolist()]
        for name, column in found.columns.items()
    }
    decided = None if found.decided is None else [found.decided[place] for place in places.tolist()]
    rows = [found.rows[place] for place in places.tolist()]
    return Scored(columns, rows, found.scores[there], decided, found.failures)


def _failed(failures: list[Failure]) -> Scored:
    return Scored({}, [], np.empty(0), None, failures)
