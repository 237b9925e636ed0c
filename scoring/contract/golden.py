"""Golden rows: real input messages as bytes with all that it takes to check that a bundle scores right."""

from collections.abc import Mapping

import msgspec

from scoring.contract.decoding import decodable
from scoring.contract.errors import BundleRejected
from scoring.contract.strict import require_unique_keys

Value = float | str | bool | None
# What a model gives for a record: one number, or the probability of each class.
Score = float | tuple[float, ...]
# Far more than a pipeline writes; all of them are scored at once, beside the running model.
MAXIMUM_ROWS = 4_096


class GoldenRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message and what must come of it.

    Attributes:
        message: the input message's bytes (base64 in JSON).
        lookups: what was looked up for it: values by field, by lookup. Times as seconds since 1970.
        estimator: the estimator's output for the same row of the warehouse; of a model of several classes their
            probabilities, in the order of the manifest's classes.
        compiled: the compiled model's output, bit for bit.
    """

    message: bytes
    lookups: Mapping[str, Mapping[str, Value]] = {}
    estimator: Score
    compiled: Score


decodable(tuple[GoldenRow, ...])


def encode_golden(rows: tuple[GoldenRow, ...]) -> bytes:
    """The bytes of ``golden.json``."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=0)


def decode_golden(content: bytes) -> tuple[GoldenRow, ...]:
    """Read golden rows.

    Raises:
        BundleRejected: malformed, there is none, or there are too many.
    """
    try:
        rows = msgspec.json.decode(content, type=tuple[GoldenRow, ...])
        require_unique_keys(content)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BundleRejected(f"golden rows: {error}") from error
    if not rows:
        raise BundleRejected("golden rows: there is none, so nothing shows that this bundle scores as it was meant to")
    if len(rows) > MAXIMUM_ROWS:
        raise BundleRejected(f"golden rows: {len(rows)} of them, at most {MAXIMUM_ROWS} are checked")
    return rows
