"""The golden-row check: real messages through decode, enrich, encode and score, before a bundle may go live."""

import math
from collections.abc import Sequence

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected
from scoring.contract.golden import GoldenRow, Score
from scoring.scorer.scorer import Scorer, lookup_columns

# As a share of the largest score.
LARGEST_TOLERANCE = 0.05


def check_golden(scorer: Scorer, golden: tuple[GoldenRow, ...] | None = None) -> None:
    """Score the golden rows and compare.

    For an exact model (tree ensembles) the compiled output must be equal bit for bit, and equal to the estimator's;
    otherwise both lie within the manifest's tolerance.

    Raises:
        BundleRejected: a row does not decode, or its score is not the one it was.
    """
    rows = scorer.bundle.golden if golden is None else golden
    if not rows:
        raise BundleRejected(f"{_name(scorer)}: there is no golden row")
    decoded = scorer.decode([row.message for row in rows])
    if decoded.failures:
        first = decoded.failures[0]
        raise BundleRejected(f"{_name(scorer)}: golden row {first.index} does not decode: {first.detail}")
    columns = {**decoded.columns, **lookup_columns(scorer, [row.lookups for row in rows])}
    try:
        scores = scorer.score(columns, len(rows))
    except BundleRejected:
        raise
    except Exception as error:  # whatever ONNX Runtime or numpy raises
        reason = f"{type(error).__name__}: {error}"
        raise BundleRejected(f"{_name(scorer)}: the golden rows cannot be scored: {reason}") from error
    compiled = expected_scores([row.compiled for row in rows], scores)
    _compare(scorer, "compiled model's", scores, compiled)
    _compare(scorer, "estimator's", scores, expected_scores([row.estimator for row in rows], scores))
    _check_tolerance(scorer, compiled)


def expected_scores(found: Sequence[Score], scores: Floats) -> Floats:
    """What golden rows expect, of the shape of the scores that they are held against.

    Raises:
        BundleRejected: they have a number where the model gives several, or the other way round.
    """
    widths = {len(each) if isinstance(each, tuple) else None for each in found}
    width = scores.shape[1] if scores.ndim > 1 else None
    if widths != {width}:
        wanted = "one number" if width is None else f"{width} probabilities"
        raise BundleRejected(f"golden rows: the model gives {wanted} per record, and not all rows expect that")
    return np.array(found, dtype=np.float64)


def _compare(scorer: Scorer, whose: str, scores: Floats, expected: Floats) -> None:
    output = scorer.manifest.output
    limit = 0.0 if output.exact else output.tolerance
    difference = float(np.max(np.abs(scores - expected)))
    if math.isnan(difference) or difference > limit:
        raise BundleRejected(
            f"{_name(scorer)}: golden rows differ by {difference:.3g} from the {whose} output, {limit:.3g} is allowed"
        )


def _check_tolerance(scorer: Scorer, compiled: Floats) -> None:
    """With a tolerance as large as the scores themselves, agreeing shows nothing."""
    output, largest = scorer.manifest.output, max(1.0, float(np.max(np.abs(compiled))))
    if not output.exact and output.tolerance > LARGEST_TOLERANCE * largest:
        raise BundleRejected(
            f"{_name(scorer)}: a tolerance of {output.tolerance:.3g} lets anything pass (scores up to {largest:.3g})"
        )


def _name(scorer: Scorer) -> str:
    return f"bundle {scorer.manifest.model} {scorer.bundle.digest[:12]}"
