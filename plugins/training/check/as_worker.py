"""Records of the holdout through the bundle as a worker takes them, from JSON to scores, held against the estimator."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Column, Floats
from scoring.contract.features import FrozenLookup
from scoring.contract.message import encode_message
from scoring.lookups.sql import SqlLookups
from scoring.scorer.bundle import open_bundle
from scoring.scorer.decode import Decoded, Failure
from scoring.scorer.scorer import Scorer
from scoring.settings import Settings
from training.candidate import read_candidate, read_estimator_scores
from training.check.findings import Finding, Level, Section
from training.check.rehearsal import Rehearsed
from training.definition import ModelDefinition
from training.evaluate import compare, read_holdout

RECORDS = 2_000
Columns = Mapping[str, Column]
Places = np.typing.NDArray[np.intp]


class Scored(msgspec.Struct, frozen=True):
    """Records through the bundle.

    Attributes:
        scores, targets: of the holdout's rows that were scored, in the order of their time.
    """

    findings: tuple[Finding, ...]
    scores: Floats
    targets: Floats


def score(done: Rehearsed, definition: ModelDefinition, settings: Settings) -> Scored | None:
    """The holdout's first records as a worker scores them; None where there is no bundle.

    Raises:
        BundleRejected: the bundle cannot be opened.
        Unavailable, ConfigurationError: what is looked up cannot be.
    """
    if done.bundle is None or done.trained is None or done.snapshot is None:
        return None
    holdout = read_holdout(definition, done.snapshot, done.trained)
    scorer = Scorer(open_bundle(done.bundle))
    columns = {name: column[:RECORDS] for name, column in holdout.columns.items()}
    rows = min(holdout.rows, RECORDS)
    decoded = scorer.decode(_messages(scorer, columns, rows))
    places = np.array(decoded.rows, dtype=np.intp)
    looked_up = _look_up(scorer, decoded, settings)
    scores = scorer.score({**decoded.columns, **looked_up}, len(places))
    findings = (
        *_refused(decoded.failures, rows),
        *_looked_up_otherwise(scorer, looked_up, columns, places),
        *_scored_otherwise(Path(done.trained.refit_folder or done.trained.folder), definition, scores, places),
    )
    return Scored(findings, scores, holdout.targets[:rows][places])


def _messages(scorer: Scorer, columns: Columns, rows: int) -> list[bytes]:
    fields = scorer.schema.fields
    return [encode_message(fields, {field.name: columns[field.name][row] for field in fields}) for row in range(rows)]


def _look_up(scorer: Scorer, decoded: Decoded, settings: Settings) -> dict[str, Column]:
    if not decoded.rows:
        return {}
    lookups = SqlLookups(settings.need_connection)
    try:
        return lookups.resolve(scorer.schema, decoded.columns, len(decoded.rows))
    finally:
        lookups.close()


def _refused(failures: Sequence[Failure], rows: int) -> Iterator[Finding]:
    if failures:
        reason = f"{failures[0].reason.value}: {failures[0].detail}"
        told = f"{len(failures):,} of {rows:,} records would become dead letters, such as for {reason}"
        yield Finding(section=Section.SCORING, level=Level.WARNING, sentence=told, remedy="see records= of the model")


def _looked_up_otherwise(scorer: Scorer, looked_up: Columns, columns: Columns, places: Places) -> Iterator[Finding]:
    """What a worker looks up must be what training joined."""
    frozen = {lookup.name for lookup in scorer.schema.lookups if isinstance(lookup, FrozenLookup)}
    for name, values in looked_up.items():
        if name.partition(".")[0] in frozen:
            continue
        joined = [columns[name][place] for place in places.tolist()]
        unequal = sum(_differ(ours, theirs) for ours, theirs in zip(list(values), joined, strict=True))
        if unequal:
            told = f"a worker looks up another {name!r} than training joined for {unequal:,} of {len(joined):,} records"
            remedy = "does the table change rows of the past? Give it a column known_at"
            yield Finding(section=Section.SCORING, level=Level.ERROR, about=name, sentence=told, remedy=remedy)


def _differ(ours: Any, theirs: Any) -> bool:
    return not (_missing(ours) and _missing(theirs)) and bool(ours != theirs)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


def _scored_otherwise(folder: Path, definition: ModelDefinition, scores: Floats, places: Places) -> Iterator[Finding]:
    """The bundle's scores must be the estimator's: bit for bit where it compiled exactly."""
    output = read_candidate(folder).output
    found = compare(
        read_estimator_scores(folder)[places],
        scores,
        exact=output.exact,
        tolerance=output.tolerance,
        threshold=definition.threshold,
    )
    difference = found.largest_difference
    if difference is not None and difference <= (0.0 if found.exact else found.tolerance):
        return
    largest = "one of them is not a number" if difference is None else f"the largest difference is {difference:.3g}"
    told = (
        f"the bundle scores {found.different_rows:,} of {found.rows:,} records otherwise than the estimator: {largest}"
    )
    yield Finding(section=Section.SCORING, level=Level.ERROR, sentence=told, remedy="see the gate parity")
