"""The routes of the page. Everything that blocks runs in a thread, so that Airflow's own pages never wait for it."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote
from uuid import uuid4

import structlog
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from baton_airflow.page import auth
from baton_airflow.page.acting import Told
from baton_airflow.page.airflow import AirflowApi, AirflowSaid, model_of
from baton_airflow.page.buttons import Button, Press, is_approver, press, why_not
from baton_airflow.page.gather import dag_of, read_cards, read_model
from baton_airflow.page.mount import HOST_APP, PREFIX
from baton_airflow.page.reading import Sources
from baton_airflow.page.render import render
from baton_airflow.page.view import model_view
from scoring.contract.errors import BatonError

log = structlog.get_logger(__name__)

Model = Annotated[str, InPath(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

MAXIMUM_FORM_BYTES = 20_000
_STATIC = Path(__file__).parent / "static"
_FILES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
# Nothing but this page's own files; no other site may show it in a frame, where it could be clicked unseen.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Routes:
    """The answers; ``sources`` is shared by all requests of the process."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def overview(self, request: Request, user: GetUserDep, dag: str = "") -> Response:
        """All models, or the one that the DAG trains."""
        if dag:
            return await _page_of_dag(request, user, dag)
        cards, problems = await read_cards(_api(request, user), self._sources)
        return _html(request, user, "overview.html", cards=cards, problems=problems)

    async def model(self, request: Request, user: GetUserDep, model: Model, told: str = "") -> Response:
        """One model."""
        rights = await to_thread(auth.rights_of, user, dag_of(model))
        if rights.read:
            raise HTTPException(403, rights.read)
        view = model_view(await read_model(_api(request, user), self._sources, model))
        not_mine = bool(view.approvers) and not is_approver(view.approvers or (), user)
        shown: dict[str, Any] = {
            "view": view,
            "rights": rights,
            "told": auth.told(told),
            "decision": uuid4(),
            "not_mine": not_mine,
        }
        return _html(request, user, "model.html", **shown)

    async def act(self, request: Request, user: GetUserDep, model: Model, button: Button) -> Response:
        """A button was pressed; what became of it is told by the page that it leads back to."""
        form = await _form(request)
        auth.require_own_post(request, user, form.get("token", ""))
        refused = why_not(button, await to_thread(auth.rights_of, user, dag_of(model)))
        if refused:
            raise HTTPException(403, refused)
        try:
            said = await press(button, Press(model, user, _api(request, user), form))
        except BatonError as error:
            said = Told(f"Nothing was done. {error}", good=False)
        self._sources.decided(model)
        log.info("page.pressed", button=button.value, model=model, actor=auth.person(user), sentence=said.sentence)
        back = f"{_root(request)}/model/{model}?told={quote(auth.tell(said.sentence, good=said.good))}"
        return RedirectResponse(back, 303)

    async def static(self, user: GetUserDep, name: str) -> Response:  # noqa: ARG002  anonymous gets nothing
        """A file of the page."""
        if name not in _FILES:
            raise HTTPException(404, f"there is no file {name}")
        return FileResponse(_STATIC / name, media_type=_FILES[name])


def make_app(sources: Sources | None = None) -> FastAPI:
    """The page as an app to be mounted into Airflow's."""
    routes = Routes(sources or Sources())
    app = FastAPI(title="Baton", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/")(routes.overview)
    app.get("/model/{model}")(routes.model)
    app.post("/model/{model}/{button}")(routes.act)
    app.get("/static/{name}")(routes.static)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(AirflowSaid)(_airflow_said)
    app.exception_handler(RequestValidationError)(_no_such_page)
    app.middleware("http")(_with_headers)
    return app


async def _page_of_dag(request: Request, user: BaseUser, dag_id: str) -> Response:
    model = model_of(await _api(request, user).dag(dag_id))
    if model is None:
        sentence = f"{dag_id} trains no model of Baton."
        return _html(request, user, "message.html", title="No model", sentence=sentence)
    return RedirectResponse(f"{_root(request)}/model/{model}", 307)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a post, the last value of each.

    Raises:
        HTTPException: it is too large, or no form.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAXIMUM_FORM_BYTES:
            raise HTTPException(413, "the form is too large")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise HTTPException(400, "the form cannot be read") from error


def _api(request: Request, user: BaseUser) -> AirflowApi:
    return AirflowApi(request.scope[HOST_APP], auth.bearer_of(user))


def _root(request: Request) -> str:
    """The path of the page, behind the one that Airflow is served under."""
    return str(request.scope.get("root_path", ""))


def _html(request: Request, user: BaseUser | None, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    root = _root(request)
    text = render(
        template,
        root=root,
        airflow=root.removesuffix(PREFIX),
        user=None if user is None else auth.person(user),
        token=None if user is None else auth.form_token(user),
        now=datetime.now(UTC),
        **values,
    )
    return HTMLResponse(text, status)


async def _refused(request: Request, error: Exception) -> Response:
    """Errors as pages; who is not logged in is led to Airflow's login."""
    status, detail = getattr(error, "status_code", 500), str(getattr(error, "detail", error))
    if status == 401 and request.method == "GET":
        return RedirectResponse(auth.login_url(request.url.path), 307)
    return _html(request, None, "message.html", status=status, title="Refused", sentence=detail)


async def _airflow_said(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, AirflowSaid) else 500
    return _html(request, None, "message.html", status=status, title="Not found", sentence=str(error))


async def _no_such_page(request: Request, _: Exception) -> Response:
    return _html(request, None, "message.html", status=404, title="Not found", sentence="There is no such page.")


async def _with_headers(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await following(request)
    answer.headers.update(_HEADERS)
    return answer
