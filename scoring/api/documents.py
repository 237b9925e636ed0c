"""What is asked and answered, as types: OpenAPI's schemas are made from them, and tests read answers by them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import Reason
from scoring.contract.digest import Digest
from scoring.contract.features import FieldType
from scoring.contract.golden import Value
from scoring.contract.heartbeat import State
from scoring.contract.prediction import Prediction
from scoring.explain.explanation import Explanation

Whole = Annotated[int, msgspec.Meta(ge=0)]
Scalar = float | str | bool | None


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records to score; ``GET /v1/models/{model}`` tells their fields."""

    records: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(min_length=1)]


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of one record: its prediction, without lineage and place in a topic.

    Attributes:
        score: probability of the positive class, the predicted number, or the probability of the class in ``label``.
    """

    score: float
    decision: bool | None
    event_time: datetime
    label: str | None = None
    probabilities: Mapping[str, float] | None = None
    pass_through: Mapping[str, Value] = {}
    lookups: Mapping[str, Mapping[str, Value]] = {}


class Scores(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scores of a request's records, in their order, all of one version."""

    model: str
    version: str
    sequence: int
    manifest_digest: Digest
    scored_at: datetime
    predictions: tuple[Score, ...]


class FailedRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a record has no score: the reason that its dead letter would name.

    Attributes:
        field: the one to blame, or the lookup; of a key that nobody declared, or that is there twice, the key itself.
            None where it is the whole record.
    """

    index: Whole
    reason: Reason
    field: str | None
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is not answered as it asked to be (RFC 9457)."""

    type: Annotated[str, msgspec.Meta(pattern=r"^urn:baton:problem:[a-z-]+$")]
    title: str
    status: Whole
    detail: str
    error: str | None = None
    needed: tuple[str, ...] = ()
    limit: str | int | None = None
    live: str | None = None


class Unscorable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some records cannot be scored; the others are. ``predictions`` has null where there is no score."""

    type: Literal["urn:baton:problem:unscorable"]
    title: str
    status: Literal[422]
    detail: str
    model: str
    version: str
    sequence: int
    manifest_digest: Digest
    scored_at: datetime
    predictions: tuple[Score | None, ...]
    failures: tuple[FailedRecord, ...]
    error: str | None = None


class RecordField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field of a record; times are RFC 3339 texts with their offset."""

    name: str
    type: FieldType
    required: bool


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that is served here; what belongs to a version is null while none scores."""

    model: str
    state: State
    version: str | None
    sequence: Whole | None
    manifest_digest: Digest | None
    pending: Whole | None
    reason: str | None
    record: tuple[RecordField, ...] | None
    classes: tuple[str, ...]
    threshold: float | None


class Models(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All models that are served here."""

    models: tuple[Model, ...]


class ListedVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version of a model, and what the ledger says of it."""

    version: str
    standing: str
    sequences: tuple[int, ...]
    registered_at: datetime
    manifest_digest: str | None


class VersionList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions of a model."""

    model: str
    versions: tuple[ListedVersion, ...]


class KeptPrediction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prediction, the key of its record, and where it stands in the topic of predictions."""

    key: str | None
    place: Position
    prediction: Prediction


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of predictions, newest first; what ``cursor`` asks for follows, null at the end."""

    predictions: tuple[KeptPrediction, ...]
    cursor: str | None


class KeptDeadLetter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an input record has no prediction, and where its dead letter stands."""

    key: str | None
    place: Position
    input: Position
    at: datetime
    model: str
    version: str
    sequence: int
    reason: Reason
    detail: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of an input record; under at-least-once delivery it may have been scored twice."""

    predictions: tuple[KeptPrediction, ...]
    dead_letters: tuple[KeptDeadLetter, ...]


class Live(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process answers."""

    live: Literal[True]


class Ready(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every model scores."""

    ready: Literal[True]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's metadata."""

    name: str
    version: str
    extensions: tuple[str, ...]


class MetadataTensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output; -1 is the number of records."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's metadata."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[MetadataTensor, ...]
    outputs: tuple[MetadataTensor, ...]
    properties: Mapping[str, str] = {}


class ModelReady(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model scores."""

    name: str
    ready: Literal[True]


class InputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A field of all records; the shape is the number of records, or that and 1."""

    name: str
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1, max_length=2)]
    datatype: str
    data: tuple[Scalar | tuple[Scalar, ...], ...]
    parameters: Mapping[str, Any] = {}


class WantedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is asked for."""

    name: Literal["score", "decision", "label", "probabilities"]
    parameters: Mapping[str, Any] = {}


class InferenceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors to score."""

    inputs: Annotated[tuple[InputTensor, ...], msgspec.Meta(min_length=1)]
    id: str | None = None
    outputs: tuple[WantedOutput, ...] = ()
    parameters: Mapping[str, Any] = {}


class OutputTensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Scalar, ...] | None = None
    parameters: Mapping[str, Any] = {}


class InferenceAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The outputs, with the lineage as parameters."""

    model_name: str
    model_version: str
    outputs: tuple[OutputTensor, ...]
    parameters: Mapping[str, Any]
    id: str | None = None


REQUESTS: dict[str, type[msgspec.Struct]] = {
    "score": ScoreRequest,
    "infer": InferenceRequest,
    "infer_with_version": InferenceRequest,
}
ANSWERS: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind
    for kind in (
        Explanation,
        History,
        InferenceAnswer,
        KeptPrediction,
        Lineage,
        Live,
        Metadata,
        Model,
        ModelReady,
        Models,
        Ready,
        Scores,
        Server,
        VersionList,
    )
}
"""What is asked for is answered with one of these, by name."""
