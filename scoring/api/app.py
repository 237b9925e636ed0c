"""The application: which path leads to which operation, behind the entrance."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from scoring import __version__
from scoring.api.entrance import Entrance, refusal, unexpected
from scoring.api.explanations import ExplainRoutes
from scoring.api.operations import OPERATIONS
from scoring.api.prediction_routes import PredictionRoutes
from scoring.api.problems import Kind, Problem
from scoring.api.read_routes import ReadRoutes
from scoring.api.score_routes import ScoreRoutes
from scoring.api.service import Service
from scoring.api.tokens import TokenFile
from scoring.settings import Settings

_KINDS = {404: Kind.NOT_FOUND, 405: Kind.WRONG_METHOD}


def make_app(
    score: ScoreRoutes, read: ReadRoutes, predictions: PredictionRoutes, explanations: ExplainRoutes
) -> FastAPI:
    """The operations, without the entrance."""
    routes = {"scoring": score, "reading": read, "predictions": predictions, "explanations": explanations}
    app = FastAPI(
        title="Baton",
        version=__version__,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={
            Problem: _told,
            RequestValidationError: _malformed,
            HTTPException: _refused,
            Exception: _unexpected,
        },
    )
    for operation in OPERATIONS:
        app.add_api_route(
            operation.path,
            getattr(routes[operation.of], operation.name),
            methods=[operation.method],
            operation_id=operation.operation_id,
            name=operation.operation_id,
            response_class=Response,
            response_model=None,
        )
    return app


def guarded(
    app: ASGIApp,
    score: ScoreRoutes,
    *,
    tokens: TokenFile,
    metrics_token: str | None,
    service: Service,
    settings: Settings,
) -> Entrance:
    """The operations behind the entrance."""
    return Entrance(
        app,
        score.answer,
        tokens=tokens,
        metrics_token=metrics_token,
        hand=service.hand,
        metrics=service.metrics,
        request_bytes=settings.api_request_bytes,
        operation=_operation,
    )


def _operation(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "name", "other"))


async def _told(request: Request, error: Any) -> Response:
    return refusal(error, request.scope)


async def _malformed(request: Request, error: Any) -> Response:
    """A parameter that cannot be read."""
    wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return refusal(Problem(Kind.MALFORMED, wrong), request.scope)


async def _refused(request: Request, error: Any) -> Response:
    """A path that leads nowhere, or not by this method."""
    problem = Problem(_KINDS.get(error.status_code, Kind.INTERNAL), "GET /openapi.json tells what there is")
    problem.headers = error.headers or {}
    return refusal(problem, request.scope)


async def _unexpected(request: Request, _error: Exception) -> Response:
    return refusal(unexpected(), request.scope)
