"""An example of each request and answer, as OpenAPI shows it; a test reads all of them by their types."""

from typing import Any

_DIGEST = "9f0c" * 16
_RECORD = {"id": "AA-0042", "at": "2026-03-01T12:30:00Z", "x": 0.25, "color": "blue"}
_SCORE = {
    "score": 0.8125,
    "decision": True,
    "event_time": "2026-03-01T12:30:00Z",
    "pass_through": {"id": "AA-0042", "color": "blue"},
}
_LINEAGE = {
    "model": "small",
    "version": "3",
    "sequence": 4,
    "manifest_digest": _DIGEST,
    "scored_at": "2026-03-01T12:30:00.012345Z",
}
_MODEL = {
    "model": "small",
    "state": "live",
    "version": "3",
    "sequence": 4,
    "manifest_digest": _DIGEST,
    "pending": 4,
    "reason": None,
    "record": [
        {"name": "id", "type": "string", "required": True},
        {"name": "at", "type": "time", "required": True},
        {"name": "x", "type": "number", "required": True},
        {"name": "color", "type": "string", "required": False},
    ],
    "classes": [],
    "threshold": 0.5,
}
_INPUTS = [
    {"name": "id", "shape": [1], "datatype": "BYTES", "data": ["AA-0042"]},
    {"name": "at", "shape": [1], "datatype": "BYTES", "data": ["2026-03-01T12:30:00Z"]},
    {"name": "x", "shape": [1], "datatype": "FP64", "data": [0.25]},
    {"name": "color", "shape": [1], "datatype": "BYTES", "data": ["blue"]},
]

_INPUT = {"topic": "small.input", "topic_id": "Vu9hX2cRT4mEJ2L1f3zqUA", "partition": 2, "offset": 1042}
_PREDICTED = {"topic": "small.predictions", "topic_id": "k2bNw1YdRzGzPz7m0qXw9Q", "partition": 2, "offset": 1039}
_KEPT = {"key": "AA-0042", "place": _PREDICTED, "prediction": {**_LINEAGE, **_SCORE, "input": _INPUT}}

REQUESTS: dict[str, Any] = {
    "score": {"records": [_RECORD]},
    "infer": {"id": "7", "inputs": _INPUTS},
    "infer_with_version": {"inputs": _INPUTS, "outputs": [{"name": "score"}]},
}
ANSWERS: dict[str, Any] = {
    "Scores": {**_LINEAGE, "predictions": [_SCORE]},
    "Models": {"models": [_MODEL]},
    "Model": _MODEL,
    "VersionList": {
        "model": "small",
        "versions": [
            {
                "version": "3",
                "standing": "champion",
                "sequences": [4],
                "registered_at": "2026-02-28T03:00:12Z",
                "manifest_digest": _DIGEST,
            }
        ],
    },
    "KeptPrediction": _KEPT,
    "History": {"predictions": [_KEPT], "cursor": None},
    "Lineage": {
        "predictions": [],
        "dead_letters": [
            {
                "key": "AA-0042",
                "place": {**_PREDICTED, "topic": "small.dead-letters", "offset": 3},
                "input": _INPUT,
                "at": "2026-03-01T12:30:00.012345Z",
                "model": "small",
                "version": "3",
                "sequence": 4,
                "reason": "missing-field",
                "detail": "Object missing required field `x`",
            }
        ],
    },
    "Live": {"live": True},
    "Ready": {"ready": True},
    "Server": {"name": "baton", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
    "Metadata": {
        "name": "small",
        "versions": ["3"],
        "platform": "baton_onnx",
        "inputs": [{"name": each["name"], "datatype": each["datatype"], "shape": [-1]} for each in _INPUTS],
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [-1]},
            {"name": "decision", "datatype": "BOOL", "shape": [-1]},
        ],
        "properties": {"sequence": "4", "manifest_digest": _DIGEST},
    },
    "ModelReady": {"name": "small", "ready": True},
    "InferenceAnswer": {
        "model_name": "small",
        "model_version": "3",
        "id": "7",
        "parameters": {"sequence": 4, "manifest_digest": _DIGEST, "scored_at": "2026-03-01T12:30:00.012345Z"},
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [1], "data": [0.8125]},
            {"name": "decision", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    },
    "Text": "# HELP baton_api_ready 1 while each model scores here, else 0.\n",
    "Document": {"openapi": "3.1.0", "info": {"title": "Baton", "version": "0.1.0"}, "paths": {}},
    "Unscorable": {
        "type": "urn:baton:problem:unscorable",
        "title": "Some records cannot be scored",
        "status": 422,
        "detail": "1 of 2 records cannot be scored; the first: Object missing required field `x`",
        **_LINEAGE,
        "predictions": [_SCORE, None],
        "failures": [
            {
                "index": 1,
                "reason": "missing-field",
                "field": "x",
                "detail": "Object missing required field `x`",
            }
        ],
    },
}
"""By the name of the schema."""
PARAMETERS: dict[str, Any] = {
    "model": "small",
    "version": "3",
    "key": "AA-0042",
    "limit": 20,
    "cursor": None,
    "topic": "small.input",
    "partition": 2,
    "offset": 1042,
}
