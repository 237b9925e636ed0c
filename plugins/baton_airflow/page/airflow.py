"""Airflow's own API, called inside this process in the name of the user: its rules, checks and audit log all apply."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
import tenacity

from baton_airflow.page.again import again_where
from scoring.contract.errors import BatonError

TIMEOUT_S = 20.0
MAXIMUM_DETAIL_CHARACTERS = 500
APPROVE_TASK = "approve"

Json = Any


class AirflowSaid(BatonError):
    """Airflow answered with an error.

    Attributes:
        status: HTTP's.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"Airflow: {detail}")
        self.status = status


class AirflowApi:
    """The public API with one user's rights.

    Args:
        app: the ASGI app of the API server.
        token: a bearer token of the user.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
            base_url="http://airflow.internal",
            headers={"Authorization": f"Bearer {token}"},
        )

    async def models(self) -> dict[str, Json]:
        """The DAGs of all models that the user may read, by model."""
        found: list[Json] = []
        while True:
            page = await self._call("GET", "/dags", params={"tags": "baton", "limit": 100, "offset": len(found)})
            found += page["dags"]
            if not page["dags"] or len(found) >= page["total_entries"]:
                return {model: dag for dag in found if (model := model_of(dag)) is not None}

    async def dag(self, dag_id: str) -> Json:
        """A DAG with the form of its runs."""
        return await self._call("GET", f"/dags/{dag_id}/details")

    async def runs(self, dag_id: str, limit: int = 8) -> list[Json]:
        """Its newest runs, newest first."""
        found = await self._call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": limit})
        return list(found["dag_runs"])

    async def tasks(self, dag_id: str) -> dict[str, Json]:
        """Its tasks by their ids."""
        found = await self._call("GET", f"/dags/{dag_id}/tasks")
        return {task["task_id"]: task for task in found["tasks"]}

    async def questions(self, dag_id: str = "~") -> list[Json]:
        """The promotions that wait for a person's answer, of one DAG or of all."""
        asked = {"response_received": "false", "task_id": APPROVE_TASK, "state": "awaiting_input", "limit": 100}
        found = await self._call("GET", f"/dags/{dag_id}/dagRuns/~/hitlDetails", params=asked)
        return list(found["hitl_details"])

    async def start(self, dag_id: str, run_id: str, conf: Mapping[str, Json]) -> bool:
        """Start a run; False where there is one of this id already."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        try:
            await self._insist("POST", f"/dags/{dag_id}/dagRuns", json=body)
        except AirflowSaid as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    async def answer(self, dag_id: str, run_id: str, option: str, reason: str) -> None:
        """Answer the question of a run."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{APPROVE_TASK}/-1/hitlDetails"
        await self._insist("PATCH", path, json={"chosen_options": [option], "params_input": {"reason": reason}})

    async def _insist(self, method: str, path: str, **more: Json) -> Json:
        """Call, and call again where Airflow fails; for what Airflow does once, however often it is asked."""
        return await tenacity.AsyncRetrying(**again_where(_failed))(self._call, method, path, **more)

    async def _call(self, method: str, path: str, **more: Json) -> Json:
        try:
            async with asyncio.timeout(TIMEOUT_S):  # the client's own timeouts do not reach an app in this process
                answer = await self._client.request(method, f"/api/v2{path}", **more)
        except TimeoutError as error:
            raise AirflowSaid(503, f"no answer within {TIMEOUT_S:g} s to {path}") from error
        except httpx.HTTPError as error:
            raise AirflowSaid(503, f"{type(error).__name__} while asking for {path}") from error
        if answer.is_success:
            return answer.json()
        raise AirflowSaid(answer.status_code, _detail(answer))


def model_of(dag: Json) -> str | None:
    """The model that a DAG trains; None of one that trains none."""
    names = [tag["name"] for tag in dag.get("tags") or ()]
    return next((name.removeprefix("model:") for name in names if name.startswith("model:")), None)


def _failed(error: BaseException) -> bool:
    """Airflow could not do it, rather than would not."""
    return isinstance(error, AirflowSaid) and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _detail(answer: httpx.Response) -> str:
    """What went wrong, in a sentence."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
    if isinstance(detail, list):  # what does not fit the form
        detail = "; ".join(str(each.get("msg", each)) for each in detail if isinstance(each, dict))
    return str(detail)[:MAXIMUM_DETAIL_CHARACTERS]
