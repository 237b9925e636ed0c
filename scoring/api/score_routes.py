"""Scoring on request: Baton's own form, and the Open Inference Protocol's."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scoring.api.answers import Answer, Result
from scoring.api.asking import asked_of, body_of, deadline_of, media_type_of
from scoring.api.body import JSON, records_of
from scoring.api.entrance import Asked
from scoring.api.inference import answer, read_inference
from scoring.api.metrics import READ
from scoring.api.problems import Kind, Problem
from scoring.api.service import Service
from scoring.contract.clock import rfc3339
from scoring.scorer.decode import Failure
from scoring.settings import Settings
from scoring.worker.models import Active

_HEAD_LENGTH = b"inference-header-content-length"


class ScoreRoutes:
    """The operations that score."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    async def answer(self, asked: Asked, request: Request) -> Response:
        """Whichever the entrance has found to be asked for."""
        if asked.operation == "score":
            return await self.score(asked.model, request)
        return await self._infer(asked.model, asked.version, request)

    async def score(self, model: str, request: Request) -> Response:
        """Score records."""
        deadline_s, body = await self._take(model, None, request)
        values = records_of(body, media_type_of(asked_of(request)), self._settings.api_request_records)
        active, results = await self._service.score(model, values, deadline_s)
        at = rfc3339(datetime.now(UTC))
        texts = [result.json for result in results if isinstance(result, Answer)]
        if len(texts) < len(results):
            _refuse(active, results, at)
        head = active.emitter.lineage + b',"scored_at":"%b","predictions":[' % at.encode()
        return Response(head + b",".join(texts) + b"]}", media_type=JSON)

    async def infer(self, model: str, request: Request) -> Response:
        """Score tensors with the version that is live."""
        return await self._infer(model, None, request)

    async def infer_with(self, model: str, version: str, request: Request) -> Response:
        """Score tensors with one version, where it is live."""
        return await self._infer(model, version, request)

    async def _infer(self, model: str, version: str | None, request: Request) -> Response:
        deadline_s, body = await self._take(model, version, request)
        asked, values = read_inference(body, _head_bytes(request, len(body)), self._settings.api_request_records)
        active, results = await self._service.score(model, values, deadline_s, version)
        at = rfc3339(datetime.now(UTC))
        answers = [result for result in results if isinstance(result, Answer)]
        if len(answers) < len(results):
            _refuse(active, results, at)
        content, head_bytes = answer(active, asked, answers, at)
        if head_bytes is None:
            return Response(content, media_type=JSON)
        headers = {_HEAD_LENGTH.decode(): str(head_bytes)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def _take(self, model: str, version: str | None, request: Request) -> tuple[float, bytes]:
        """The deadline, and the body; before it is read it is known that there is somebody to score it."""
        settings = self._settings
        deadline_s = deadline_of(asked_of(request), settings.api_deadline_ms, settings.api_maximum_deadline_ms)
        self._service.live(model, version)
        body = await body_of(request, settings.api_request_bytes, deadline_s)
        self._service.metrics.observe(READ, time.perf_counter() - asked_of(request).began_s)
        return deadline_s, body


def _refuse(active: Active, results: Sequence[Result], at: str) -> NoReturn:
    """Tell the scores of the good records, and what is wrong with the others."""
    failures = [
        {
            "index": index,
            "reason": result.reason.value,
            "field": result.field,
            "detail": result.detail,
        }
        for index, result in enumerate(results)
        if isinstance(result, Failure)
    ]
    predictions: list[Any] = [msgspec.Raw(result.json) if isinstance(result, Answer) else None for result in results]
    raise Problem(
        Kind.UNSCORABLE,
        f"{len(failures)} of {len(results)} records cannot be scored; the first: {failures[0]['detail']}",
        model=active.model,
        version=active.version,
        sequence=active.sequence,
        manifest_digest=active.digest,
        scored_at=at,
        predictions=predictions,
        failures=failures,
    )


def _head_bytes(request: Request, size: int) -> int | None:
    """How much of the body is the document, where bytes follow it.

    Raises:
        Problem: the header says what cannot be.
    """
    text = asked_of(request).headers.get(_HEAD_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or int(text[:10]) > size:
        raise Problem(Kind.MALFORMED, "Inference-Header-Content-Length is not the length of a part of the body")
    return int(text[:10])
