"""The description of the API in OpenAPI 3.1, made from the table of operations, its types and its examples."""

import functools
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from scoring import __version__
from scoring.api import examples
from scoring.api.documents import ANSWERS, REQUESTS, ProblemDocument, Unscorable
from scoring.api.operations import OPERATIONS, Operation, Parameter
from scoring.api.problems import MEDIA_TYPE, Kind, Problem

__all__ = ["OPERATIONS", "described", "document"]

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_INTRODUCTION = """\
Scores records on request with the versions that score the stream, and tells what is served. Every request shows a
bearer token, but for the probes. Problems are documents of RFC 9457; an answer repeats the request's correlation and
trace headers.
"""
_DEADLINE = {
    "name": "X-Request-Deadline-Ms",
    "in": "header",
    "required": False,
    "description": "Within how many milliseconds the answer has to be there; what cannot be is not done.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "example": 250,
}


@functools.cache
def described() -> bytes:
    """The description as JSON."""
    return json.dumps(document(), indent=1).encode()


def document() -> dict[str, Any]:
    """The description."""
    types = [*ANSWERS.values(), *dict.fromkeys(REQUESTS.values()), ProblemDocument, Unscorable]
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Baton", "version": __version__, "description": _INTRODUCTION},
        "paths": dict(paths),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    scopes = " or ".join(f"`{scope}`" for scope in operation.scopes)
    needed = f"Takes a token with the scope {scopes}." if scopes else "Takes no token."
    found: dict[str, Any] = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "description": " ".join(filter(None, (operation.description, needed))),
        "security": [{"token": []}] if operation.scopes else [],
        "responses": _responses(operation),
    }
    if parameters := [*_parameters(operation)]:
        found["parameters"] = parameters
    if operation.scores:
        found["requestBody"] = {"required": True, "content": _request(operation)}
    return found


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    named = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": examples.PARAMETERS[name],
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    asked = [_asked(parameter) for parameter in operation.parameters]
    return [*named, *asked, *([_DEADLINE] if operation.hurries else [])]


def _asked(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if parameter.maximum is not None:
        schema = {"type": "integer", "minimum": parameter.minimum, "maximum": parameter.maximum}
    found = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": schema,
    }
    example = examples.PARAMETERS[parameter.name]
    return found if example is None else {**found, "example": example}


def _request(operation: Operation) -> dict[str, Any]:
    example = examples.REQUESTS[operation.operation_id]
    content = {_JSON: {"schema": _ref(REQUESTS[operation.operation_id].__name__), "example": example}}
    if operation.name == "score":
        lines = "\n".join(map(json.dumps, example["records"]))
        content[_LINES] = {"schema": {"type": "string", "description": "A record a line."}, "example": lines}
    return content


def _responses(operation: Operation) -> dict[str, Any]:
    schema = _ref(operation.answers) if operation.answers in ANSWERS else {}
    example = examples.ANSWERS[operation.answers]
    good: dict[str, Any] = {operation.media_type: {"schema": schema, "example": example}}
    if operation.answers == "InferenceAnswer":
        good["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    responses: dict[str, Any] = {"200": {"description": operation.summary, "content": good}}
    by_status: defaultdict[int, list[Kind]] = defaultdict(list)
    for kind in (*operation.problems, Kind.INTERNAL):
        by_status[int(kind.status)].append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem(kinds)
    return responses


def _problem(kinds: Sequence[Kind]) -> dict[str, Any]:
    told = {kind.code: {"value": json.loads(Problem(kind, kind.title).document())} for kind in kinds}
    schema = _ref("ProblemDocument")
    if Kind.UNSCORABLE in kinds:
        told, schema = {Kind.UNSCORABLE.code: {"value": examples.ANSWERS["Unscorable"]}}, _ref("Unscorable")
    described: dict[str, Any] = {
        "description": "; ".join(f"{kind.title} (`{kind.code}`)" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": told}},
    }
    headers = {name for kind in kinds for name in Problem(kind, "").headers}
    if headers:
        described["headers"] = {name: {"schema": {"type": "string"}} for name in sorted(headers)}
    return described


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}
