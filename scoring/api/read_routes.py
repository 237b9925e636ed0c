"""Reading: what is served here, its versions, its health and its numbers."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scoring import __version__
from scoring.api.asking import asked_of
from scoring.api.body import JSON
from scoring.api.inference import BINARY, metadata
from scoring.api.openapi import described
from scoring.api.problems import Kind, Problem
from scoring.api.service import Service
from scoring.api.versions import Versions
from scoring.contract.features import Field
from scoring.contract.heartbeat import ModelStatus
from scoring.worker.readiness import LIVE_WITHIN_S

_encode = msgspec.json.Encoder().encode


class ReadRoutes:
    """The operations that read.

    Args:
        scraper: makes, at the first request, what answers /metrics from a request's ``Accept`` header.
    """

    def __init__(
        self, service: Service, versions: Versions, scraper: Callable[[], Callable[[str], tuple[bytes, str]]]
    ) -> None:
        self._service = service
        self._versions = versions
        self._scraper = functools.cache(scraper)
        # Nobody else's: whatever hangs elsewhere, what tells of it is told.
        self._scraping = ThreadPoolExecutor(1, "metrics")

    def close(self) -> None:
        """Let go of processes and threads."""
        self._versions.close()
        self._scraping.shutdown(cancel_futures=True)

    # --- Baton's own form -----------------------------------------------------------------------------------------

    async def models(self) -> Response:
        """Every model that is served here."""
        statuses = self._service.statuses()
        return _json({"models": [self._told(model, status) for model, status in statuses.items()]})

    async def model(self, model: str) -> Response:
        """One model, with the fields of its records and what comes back."""
        status = self._service.statuses().get(model)
        if status is None:
            raise Problem(Kind.UNKNOWN_MODEL, "BATON_MODELS does not name it; GET /v1/models names those it does")
        return _json(self._told(model, status))

    async def versions(self, model: str) -> Response:
        """The versions of a model."""
        await self.model(model)  # none of a model that is not served here
        return _json({"model": model, "versions": msgspec.Raw(await self._versions.of(model))})

    def _told(self, model: str, status: ModelStatus) -> dict[str, Any]:
        told: dict[str, Any] = {
            "model": model,
            "state": status.state,
            "version": status.version,
            "sequence": status.sequence,
            "manifest_digest": None,
            "pending": status.pending,
            "reason": status.reason,
            "record": None,
            "classes": [],
            "threshold": None,
        }
        if status.sequence is None:
            return told
        try:
            active = self._service.live(model)
        except Problem:  # it went out of service this moment
            return told
        manifest = active.scorer.manifest
        return {
            **told,
            "manifest_digest": active.digest,
            "record": [_field(field) for field in manifest.schema.fields],
            "classes": manifest.output.classes,
            "threshold": manifest.output.threshold,
        }

    # --- health and numbers ---------------------------------------------------------------------------------------

    async def live(self) -> Response:
        """Whether this process answers, and scores."""
        silent_s = self._service.silent_s()
        if silent_s > LIVE_WITHIN_S:
            raise Problem(Kind.UNAVAILABLE, f"the scoring thread has not come round for {silent_s:.0f} s")
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether every model scores here; why not is for those who show a token."""
        why_not = self._service.why_not_ready()
        if why_not:
            told = "; ".join(why_not) if asked_of(request).trusted else "a token would tell why"
            raise Problem(Kind.NOT_READY, told)
        return _json({"ready": True})

    async def metrics(self, request: Request) -> Response:
        """The numbers of this process."""
        accept = asked_of(request).headers.get(b"accept", b"").decode("latin-1")
        body, kind = await asyncio.get_running_loop().run_in_executor(self._scraping, self._scraper(), accept)
        return Response(body, headers={"Content-Type": kind})

    async def openapi(self) -> Response:
        """The description of all operations."""
        return Response(described(), media_type=JSON)

    # --- the Open Inference Protocol ------------------------------------------------------------------------------

    async def server(self) -> Response:
        """What this server is."""
        return _json({"name": "baton", "version": __version__, "extensions": [BINARY]})

    async def metadata(self, model: str) -> Response:
        """A model's inputs and outputs."""
        return _json(metadata(self._service.live(model)))

    async def metadata_with(self, model: str, version: str) -> Response:
        """A version's inputs and outputs, where it is live."""
        return _json(metadata(self._service.live(model, version)))

    async def model_ready(self, model: str) -> Response:
        """Whether a model scores."""
        return _json({"name": self._service.live(model).model, "ready": True})

    async def model_ready_with(self, model: str, version: str) -> Response:
        """Whether a version scores."""
        return _json({"name": self._service.live(model, version).model, "ready": True})


def _field(field: Field) -> dict[str, Any]:
    return {"name": field.name, "type": field.type, "required": field.required}


def _json(document: object) -> Response:
    return Response(_encode(document), media_type=JSON)
