"""The table of operations: path, method, who may ask, what may come back. Routes and OpenAPI are made from it."""

import msgspec

from scoring.api.problems import Kind

_ALWAYS = (Kind.NO_TOKEN, Kind.WRONG_SCOPE)
_OF_MODEL = (*_ALWAYS, Kind.UNKNOWN_MODEL)
_LIVE = (*_OF_MODEL, Kind.RETIRED, Kind.NOT_READY)
_OF_VERSION = (*_LIVE, Kind.NOT_LIVE)
_SCORES = (
    *_LIVE,
    Kind.MALFORMED,
    Kind.TOO_SLOW,
    Kind.TOO_LARGE,
    Kind.MEDIA_TYPE,
    Kind.UNSCORABLE,
    Kind.QUEUE_FULL,
    Kind.UNAVAILABLE,
    Kind.OUT_OF_REACH,
    Kind.LATE,
)


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked in the query.

    Attributes:
        maximum: of a whole number; None for a text.
    """

    name: str
    meaning: str
    required: bool = True
    minimum: int = 0
    maximum: int | None = None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    Attributes:
        name: of the method that answers it.
        scopes: any of these allows it; none is asked for where it is empty.
        problems: what it may be answered with beside what was asked; ``internal`` always may.
        answers: name of the schema of what was asked.
        of: which of the routes have that method.
    """

    name: str
    operation_id: str
    path: str
    summary: str
    answers: str
    description: str = ""
    method: str = "GET"
    scopes: tuple[str, ...] = ("read",)
    problems: tuple[Kind, ...] = _ALWAYS
    media_type: str = "application/json"
    of: str = "reading"
    parameters: tuple[Parameter, ...] = ()

    @property
    def scores(self) -> bool:
        """Whether it scores records."""
        return self.method == "POST"

    @property
    def hurries(self) -> bool:
        """Whether it may be told by when its answer has to be there."""
        return self.scores or self.of == "explanations"


_EITHER = ("read", "score")
_READS = (*_ALWAYS, Kind.MALFORMED, Kind.QUEUE_FULL, Kind.UNAVAILABLE)
_KEY = Parameter(name="key", meaning="The record's key, as text.")
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="score",
        operation_id="score",
        path="/v1/models/{model}/score",
        of="scoring",
        method="POST",
        scopes=("score",),
        summary="Score records",
        description=(
            "Every record is decoded, enriched and scored as one of the model's input topic would be, with the version "
            "that is live there now; all of a request with the same one. Where some cannot be scored the answer is 422 "
            "with the scores of the others."
        ),
        answers="Scores",
        problems=_SCORES,
    ),
    Operation(
        name="models",
        operation_id="list_models",
        path="/v1/models",
        summary="The models that are served here",
        answers="Models",
    ),
    Operation(
        name="model",
        operation_id="get_model",
        path="/v1/models/{model}",
        summary="One model, with the fields of its records",
        answers="Model",
        problems=_OF_MODEL,
    ),
    Operation(
        name="versions",
        operation_id="list_versions",
        path="/v1/models/{model}/versions",
        summary="The versions of a model, and what the ledger says of each",
        answers="VersionList",
        problems=(*_OF_MODEL, Kind.QUEUE_FULL, Kind.UNAVAILABLE),
    ),
    Operation(
        name="latest",
        operation_id="latest_prediction",
        of="predictions",
        path="/v1/predictions/{model}/latest",
        summary="The prediction that counts for a key: of the highest input offset, whatever the order of arrival",
        answers="KeptPrediction",
        problems=(*_READS, Kind.NOT_FOUND),
        parameters=(_KEY,),
    ),
    Operation(
        name="history",
        operation_id="history_of_predictions",
        of="predictions",
        path="/v1/predictions/{model}/history",
        summary="All predictions for a key, newest first, a page at a time",
        answers="History",
        problems=_READS,
        parameters=(
            _KEY,
            Parameter(name="limit", meaning="Of a page; by default 100.", required=False, minimum=1, maximum=1_000),
            Parameter(name="cursor", meaning="The cursor of the page before.", required=False),
        ),
    ),
    Operation(
        name="lineage",
        operation_id="lineage_of_record",
        of="predictions",
        path="/v1/predictions/{model}/lineage",
        summary="What became of an input record: its prediction, or its dead letter with the reason",
        answers="Lineage",
        problems=(*_READS, Kind.NOT_FOUND),
        parameters=(
            Parameter(name="topic", meaning="The input topic, by name or id."),
            Parameter(name="partition", meaning="Its partition.", maximum=2**31 - 1),
            Parameter(name="offset", meaning="Its offset.", maximum=2**63 - 1),
        ),
    ),
    Operation(
        name="explanation",
        operation_id="explain_record",
        of="explanations",
        path="/v1/predictions/{model}/explanation",
        summary="What happened to a record, and what comes of scoring it again",
        description=(
            "What `baton explain` tells: the record, what was looked up for it, the features as the model saw them, "
            "the score and why its version was live then; scored again now from the same bundle, identical or what "
            "differs and why; of trees what moved the score. What cannot be had any more stands under `missing`."
        ),
        answers="Explanation",
        problems=(*_READS, Kind.UNKNOWN_MODEL, Kind.NOT_FOUND, Kind.NO_OUTCOME, Kind.LATE),
        parameters=(
            Parameter(name="topic", meaning="The model's input topic, or the topic of the outcome."),
            Parameter(name="partition", meaning="The partition of that topic.", maximum=2**31 - 1),
            Parameter(name="offset", meaning="The offset in it.", maximum=2**63 - 1),
        ),
    ),
    Operation(
        name="server",
        operation_id="inference_server",
        path="/v2",
        scopes=_EITHER,
        summary="Open Inference Protocol: the server",
        answers="Server",
    ),
    Operation(
        name="live",
        operation_id="inference_live",
        path="/v2/health/live",
        scopes=(),
        summary="Open Inference Protocol: whether the server answers",
        answers="Live",
        problems=(Kind.UNAVAILABLE,),
    ),
    Operation(
        name="ready",
        operation_id="inference_ready",
        path="/v2/health/ready",
        scopes=(),
        summary="Open Inference Protocol: whether every model scores",
        answers="Ready",
        problems=(Kind.NOT_READY,),
    ),
    Operation(
        name="metadata",
        operation_id="inference_metadata",
        path="/v2/models/{model}",
        scopes=_EITHER,
        summary="Open Inference Protocol: a model's inputs and outputs",
        answers="Metadata",
        problems=_LIVE,
    ),
    Operation(
        name="metadata_with",
        operation_id="inference_metadata_of_version",
        path="/v2/models/{model}/versions/{version}",
        scopes=_EITHER,
        summary="Open Inference Protocol: a version's inputs and outputs",
        answers="Metadata",
        problems=_OF_VERSION,
    ),
    Operation(
        name="model_ready",
        operation_id="inference_model_ready",
        path="/v2/models/{model}/ready",
        scopes=_EITHER,
        summary="Open Inference Protocol: whether a model scores",
        answers="ModelReady",
        problems=_LIVE,
    ),
    Operation(
        name="model_ready_with",
        operation_id="inference_version_ready",
        path="/v2/models/{model}/versions/{version}/ready",
        scopes=_EITHER,
        summary="Open Inference Protocol: whether a version scores",
        answers="ModelReady",
        problems=_OF_VERSION,
    ),
    Operation(
        name="infer",
        operation_id="infer",
        path="/v2/models/{model}/infer",
        of="scoring",
        method="POST",
        scopes=("score",),
        summary="Open Inference Protocol: score tensors",
        description=(
            "A record's fields are the inputs, one value per record; the outputs are score, decision, label and "
            "probabilities, as far as the model has them. The extension for binary tensor data is understood."
        ),
        answers="InferenceAnswer",
        problems=_SCORES,
    ),
    Operation(
        name="infer_with",
        operation_id="infer_with_version",
        path="/v2/models/{model}/versions/{version}/infer",
        of="scoring",
        method="POST",
        scopes=("score",),
        summary="Open Inference Protocol: score tensors with a version that is live",
        answers="InferenceAnswer",
        problems=(*_SCORES, Kind.NOT_LIVE),
    ),
    Operation(
        name="live",
        operation_id="live",
        path="/livez",
        scopes=(),
        summary="Whether this process answers",
        answers="Live",
        problems=(Kind.UNAVAILABLE,),
    ),
    Operation(
        name="ready",
        operation_id="ready",
        path="/readyz",
        scopes=(),
        summary="Whether every model scores here",
        answers="Ready",
        problems=(Kind.NOT_READY,),
    ),
    Operation(
        name="metrics",
        operation_id="metrics",
        path="/metrics",
        summary="The numbers of this process, for Prometheus",
        answers="Text",
        media_type="text/plain",
    ),
    Operation(
        name="openapi",
        operation_id="openapi",
        path="/openapi.json",
        summary="This description",
        answers="Document",
    ),
)
