"""What Airflow is given to mount. Every process of Airflow loads it, so it imports nothing but the standard library."""

import threading
from asyncio import to_thread
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PREFIX = "/baton"
NAME = "Baton"
# Where the page finds the app that it is mounted in.
HOST_APP = "baton.host_app"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

FASTAPI_APPS: list[Any] = []
EXTERNAL_VIEWS: list[Any] = [
    {"name": NAME, "href": f"{PREFIX}/", "destination": "nav", "url_route": "baton", "category": "browse"},
    {"name": "Model", "href": f"{PREFIX}/?dag={{DAG_ID}}", "destination": "dag", "url_route": "baton-model"},
]


class Page:
    """The page as an ASGI app that is imported with its first request: only the API server ever gets one."""

    def __init__(self) -> None:
        self._app: Asgi | None = None
        self._loading = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        scope[HOST_APP] = scope.get("app")
        app = await to_thread(self._load) if self._app is None else self._app
        await app(scope, receive, send)

    def _load(self) -> Asgi:
        with self._loading:
            if self._app is None:
                from baton_airflow.page.app import make_app  # noqa: PLC0415  only where the page is asked for

                self._app = make_app()
            return self._app


FASTAPI_APPS.append({"app": Page(), "url_prefix": PREFIX, "name": NAME})
