"""An example of each request and answer, as OpenAPI shows it; a test reads all of them by their types."""

import json
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

_SWAP = {
    "sequence": 4,
    "version": "3",
    "worker": "production/0",
    "at": "2026-03-01T03:00:15Z",
    "partition": 2,
    "offset": 1001,
    "records": 41,
}
_ENTRY = {
    "model": "small",
    "sequence": 4,
    "version": "3",
    "manifest_digest": _DIGEST,
    "kind": "promote",
    "parent_sequence": 3,
    "run_id": "scheduled__2026-03-01",
    "candidate_id": _DIGEST,
    "actor": "train_small",
    "reason": "every gate passed",
    "evidence": [
        {"gate": "quality", "judgement": "pass", "sentence": "auc is above its floor", "value": 0.81, "limit": 0.6}
    ],
    "interval": {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"},
    "decided_at": "2026-03-01T03:00:12Z",
    "effective_from": "2026-03-01T03:00:12Z",
    "forced": False,
}
_EXPLANATION = {
    "sound": True,
    "headline": "small.input, partition 2, offset 1042: scored 0.8125 by small version 3",
    "model": "small",
    "place": _INPUT,
    "input": {
        "key": {"text": "AA-0042"},
        "value": {"text": json.dumps(_RECORD)},
        "headers": [],
        "timestamp": "2026-03-01T12:30:00Z",
        "replayed": None,
    },
    "prediction": _KEPT["prediction"],
    "prediction_place": _PREDICTED,
    "letter": None,
    "threshold": 0.5,
    "fields": [
        {"name": "x", "type": "number", "value": 0.25},
        {"name": "color", "type": "string", "value": "blue"},
    ],
    "enrichment": [],
    "features": [{"name": "x", "value": 0.25, "exact": "0.25", "how": "x", "of": {"x": 0.25}}],
    "rescored": {
        "verdict": "identical",
        "causes": [],
        "score": 0.8125,
        "decision": True,
        "label": None,
        "probabilities": None,
        "kernel": "compiled",
        "installed": {"numpy": "2.4.1", "onnxruntime": "1.24.1"},
    },
    "why": {
        "entry": _ENTRY,
        "replaced_by": None,
        "swap": _SWAP,
        "next_swap": None,
        "nearest": _SWAP,
        "problems": [],
    },
    "contributions": {
        "base": 0.25,
        "raw": 1.46633,
        "off_by": 0.0,
        "link": "sigmoid",
        "label": None,
        "parts": [{"feature": "x", "value": 1.21633}],
    },
    "missing": [],
}

REQUESTS: dict[str, Any] = {
    "score": {"records": [_RECORD]},
    "infer": {"id": "7", "inputs": _INPUTS},
    "infer_with_version": {"inputs": _INPUTS, "outputs": [{"name": "score"}]},
}
ANSWERS: dict[str, Any] = {
    "Scores": {**_LINEAGE, "predictions": [_SCORE]},
    "Models": {"models": [_MODEL]},
    "Model": _MODEL,
    "Explanation": _EXPLANATION,
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
