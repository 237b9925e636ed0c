"""The prediction: the score of one input record with its lineage (protocol B.10)."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest
from scoring.contract.golden import Value
from scoring.contract.notice import ModelName, Sequence

CORRELATION_HEADERS = frozenset(
    {"correlation-id", "x-correlation-id", "request-id", "x-request-id", "traceparent", "tracestate", "baggage"}
)


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record of ``<model>.predictions``.

    The record's key is the input's key and its correlation and trace headers are the input's. From the input record
    that ``input`` names, the bundle that ``manifest_digest`` names and ``lookups``, the score can be computed again
    bit for bit.

    Attributes:
        score: probability of the positive class, the predicted number, or the probability of the class in ``label``.
        decision: ``score >= threshold`` of the model definition; None where there is no threshold.
        label: the most probable of several classes, the first of equals; there for such a model alone.
        probabilities: of all classes by their names; there for such a model alone.
        input: topic, topic id, partition and offset of the input record.
        pass_through: the declared fields of the input record.
        lookups: looked-up values that are not frozen into the bundle, by field, by lookup. Times as seconds.
    """

    model: ModelName
    version: str
    sequence: Sequence
    manifest_digest: Digest
    score: float
    decision: bool | None = None
    label: str | None = None
    probabilities: Mapping[str, float] | None = None
    event_time: datetime
    scored_at: datetime
    input: Position
    pass_through: Mapping[str, Value] = {}
    lookups: Mapping[str, Mapping[str, Value]] = {}


decodable(Prediction)


def decode_prediction(value: bytes) -> Prediction:
    """Read the value of a record of ``<model>.predictions``.

    Raises:
        msgspec.MsgspecError: it is not a prediction.
    """
    return msgspec.json.decode(value, type=Prediction)
