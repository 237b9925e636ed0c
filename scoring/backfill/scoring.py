"""Score: the outcome of every record of a chunk, through what scores the stream. No record vanishes."""

from collections.abc import Iterator

import msgspec
import numpy as np

from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.lookups.port import LookupSource
from scoring.scorer.decode import Decoded, Failure
from scoring.scorer.scorer import Scorer, finite
from scoring.worker.screening import answered

BATCH_RECORDS = 4_096
"""Scored at once: as many as a worker's largest micro-batch, whatever the chunk holds."""


class Scored(msgspec.Struct, frozen=True):
    """Some records that were scored, and those that could not be.

    Attributes:
        decoded: the scored ones with their fields and looked-up values, and the failures.
        scores: of shape (rows,), or of several classes (rows, classes).
    """

    decoded: Decoded
    scores: Floats


def scored(scorer: Scorer, lookups: LookupSource, decoded: Decoded) -> Iterator[Scored]:
    """The outcomes of records, batch by batch; a record that the model fails on fails alone.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now.
    """
    failures = decoded.failures
    for start in range(0, len(decoded.rows), BATCH_RECORDS):
        places = range(start, min(start + BATCH_RECORDS, len(decoded.rows)))
        yield from _scored(scorer, lookups, _part(decoded, places, failures))
        failures = []
    if failures:
        yield Scored(_part(decoded, range(0), failures), _none(scorer))


def _scored(scorer: Scorer, lookups: LookupSource, decoded: Decoded) -> Iterator[Scored]:
    try:
        yield _batch(scorer, lookups, decoded)
    except (Unavailable, ConfigurationError):  # not the records' fault
        raise
    except (MemoryError, OSError) as error:  # nor is this host's distress
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # whatever a record makes the model or a library raise condemns that record only
        count = len(decoded.rows)
        if count > 1:
            yield from _scored(scorer, lookups, _part(decoded, range(count // 2), decoded.failures))
            yield from _scored(scorer, lookups, _part(decoded, range(count // 2, count), []))
        else:
            fault = Reason.UNSCORABLE, f"the model failed on it: {type(error).__name__}"
            yield Scored(decoded.without(dict.fromkeys(range(count), fault)), _none(scorer))


def _batch(scorer: Scorer, lookups: LookupSource, decoded: Decoded) -> Scored:
    schema, count = scorer.schema, len(decoded.rows)
    fields = decoded.columns
    looked_up = {**lookups.resolve(schema, fields, count), **scorer.frozen(fields, count)}
    found = answered(decoded, looked_up, schema)
    scores = scorer.score(found.columns, len(found.rows))
    there = finite(scores)
    fault = Reason.UNSCORABLE, "its score is not a finite number"
    return Scored(found.without(dict.fromkeys(np.flatnonzero(~there).tolist(), fault)), scores[there])


def _part(decoded: Decoded, places: range, failures: list[Failure]) -> Decoded:
    here = slice(places.start, places.stop)
    return Decoded({name: column[here] for name, column in decoded.columns.items()}, decoded.rows[here], failures)


def _none(scorer: Scorer) -> Floats:
    classes = scorer.manifest.output.classes
    return np.empty((0, len(classes)) if classes else 0)
