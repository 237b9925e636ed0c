"""What every process of Airflow loads, and what it must not cost."""

import asyncio
import subprocess
import sys
from collections.abc import MutableMapping
from typing import Any

from baton_airflow.page.mount import EXTERNAL_VIEWS, FASTAPI_APPS, PREFIX, Page
from tests.support.airflow_home import PROJECT

_HEAVY = "fastapi, jinja2, httpx, sqlalchemy, confluent_kafka, msgspec, airflow, mlflow"


def test_what_the_plugin_loader_reads_imports_nothing_but_the_standard_library() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT / 'plugins')!r}); import baton_airflow.page.mount; "
        f"print([name for name in {_HEAVY!r}.split(', ') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_stands_in_the_navigation_and_on_each_dag_under_one_address() -> None:
    assert [view["destination"] for view in EXTERNAL_VIEWS] == ["nav", "dag"]
    assert all(view["href"].startswith(f"{PREFIX}/") for view in EXTERNAL_VIEWS)
    assert [app["url_prefix"] for app in FASTAPI_APPS] == [PREFIX]


def test_only_http_is_answered() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Page()({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1000}]
