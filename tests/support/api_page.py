"""The page of the API, made from its description: ``python -m tests.support.api_page`` writes it anew."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scoring.api.openapi import document
from scoring.api.operations import OPERATIONS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"
INTRODUCTION = """\
# The API

Every operation of `baton api`, from its own description in OpenAPI (`GET /openapi.json`, or `baton api openapi`); a
test holds this page against it (`python -m tests.support.api_page` writes it anew).
[How to score on request](../how-to/score-on-request.md) tells how to run it and what it promises.

Every request shows `Authorization: Bearer TOKEN`, but for the probes. An answer repeats the correlation and trace
headers of its request. Whatever is not answered as it was asked is a problem document
([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) of type `application/problem+json`; under `/v2` it has the member
`error` as well, where clients of the Open Inference Protocol look. The last part of its `type` is stable:
"""


def page() -> str:
    """The whole page."""
    described = document()
    return "\n".join([INTRODUCTION, *_problems(described), *_operations(described)])


def _problems(described: dict[str, Any]) -> Iterator[str]:
    found: dict[str, tuple[str, str]] = {}
    for methods in described["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                shown = response["content"].get("application/problem+json", {}).get("examples", {})
                found.update((code, (status, example["value"]["title"])) for code, example in shown.items())
    rows = [f"| `{code}` | {status} | {title} |" for code, (status, title) in sorted(found.items(), key=_by_status)]
    yield "\n".join(["| problem | status | meaning |", "|---|---|---|", *rows, ""])


def _by_status(item: tuple[str, tuple[str, str]]) -> tuple[str, str]:
    return item[1][0], item[0]


def _operations(described: dict[str, Any]) -> Iterator[str]:
    for operation in OPERATIONS:
        told = described["paths"][operation.path][operation.method.lower()]
        yield f"## `{operation.method} {operation.path}`\n\n{told['summary']}. {told['description']}\n"
        yield from _parameters(told)
        if "requestBody" in told:
            (kind, content), *_ = told["requestBody"]["content"].items()
            yield f"Asked with `{kind}`:\n\n{_shown(content['example'])}\n"
        (kind, content), *_ = told["responses"]["200"]["content"].items()
        shown = _shown(content["example"]) if kind == "application/json" else f"```\n{content['example'].strip()}\n```"
        yield f"Answered with `{kind}`:\n\n{shown}\n"
        codes = [f"`{status}`" for status in told["responses"] if status != "200"]
        yield f"Or with a problem: {', '.join(codes)}.\n"


def _parameters(told: dict[str, Any]) -> Iterator[str]:
    asked = [each for each in told.get("parameters", ()) if each["in"] != "path"]
    if asked:
        rows = [f"| `{each['name']}` | {each['in']} | {each['description']} |" for each in asked]
        yield "\n".join(["| parameter | in | meaning |", "|---|---|---|", *rows, ""])


def _shown(example: Any) -> str:
    return f"```json\n{json.dumps(example, indent=1)}\n```"


if __name__ == "__main__":
    PAGE.write_text(page())
