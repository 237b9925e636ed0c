"""Forty sources in a real Airflow: three are slow, two fail at first, one fails until somebody mends it."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from scoring.contract.clock import rfc3339
from tests.support import vendors
from tests.support.airflow_home import PROJECT
from tests.support.airflow_stack import AirflowStack, airflow_stack
from tests.support.training import END, START
from tests.support.vendors import Plan, Vendor

pytestmark = pytest.mark.timeout(1_500)

PARALLELISM = 8
# Beyond the slowest source's own time.
BOUND_S = 120.0
DAG_ID, RUN_ID = "train_forty", "forty"
SHORT, FULL = Plan(slow_s=6.0), Plan(slow_s=60.0)


class Pulled:
    """A run of forty sources, in an Airflow of its own, up to the records that they make."""

    _tasks = f"/dags/{DAG_ID}/dagRuns/{RUN_ID}/taskInstances"

    def __init__(self, stack: AirflowStack, api: Vendor) -> None:
        self.stack = stack
        self.api = api
        self.client = stack.client()

    def run(self) -> str:
        """Start the run, and wait for its end; returns its state."""
        conf = {"start": rfc3339(START), "end": rfc3339(END), "reason": "a test"}
        deadline_s = time.monotonic() + 120
        while DAG_ID not in {dag["dag_id"] for dag in self.client.call("GET", "/dags")["dags"]}:
            assert time.monotonic() < deadline_s, self.client.call("GET", "/importErrors")
            time.sleep(1.0)
        self.client.call("PATCH", f"/dags/{DAG_ID}", {"is_paused": False})
        body = {"dag_run_id": RUN_ID, "logical_date": None, "conf": conf}
        self.client.call("POST", f"/dags/{DAG_ID}/dagRuns", body)
        return self.client.follow(DAG_ID, RUN_ID, lambda _: None, limit_s=900, every_s=2.0).state

    def instances(self) -> dict[str, dict[str, Any]]:
        """The instances of ``pull`` by the name that the UI calls them."""
        found = self.client.call("GET", f"{self._tasks}/pull/listMapped?limit=100")["task_instances"]
        return {each["rendered_map_index"]: each for each in found}

    def mend(self, name: str) -> None:
        """Mend the vendor, and clear the one instance with what follows it."""
        self.api.mended = True
        place = self.instances()[name]["map_index"]
        body = {
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
            "dag_run_id": RUN_ID,
            "task_ids": [["pull", place]],
        }
        self.client.call("POST", f"/dags/{DAG_ID}/clearTaskInstances", body)
        deadline_s = time.monotonic() + 400
        while self.client.call("GET", f"{self._tasks}/assemble")["state"] != "success":
            assert time.monotonic() < deadline_s, self.instances()[name]
            time.sleep(1.0)

    def result(self, task_id: str, place: int = -1) -> Any:
        """What an instance returned."""
        value = self.client.call("GET", f"{self._tasks}/{task_id}/xcomEntries/return_value?map_index={place}")["value"]
        return json.loads(value) if isinstance(value, str) else value

    def seconds(self) -> float:
        """How long the run took, by Airflow."""
        run = self.client.call("GET", f"/dags/{DAG_ID}/dagRuns/{RUN_ID}")
        start, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
        return (end - start).total_seconds()


@pytest.fixture
def pulled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pulled]:
    plan, retry_s = request.param
    models = vendors.write_project(tmp_path)
    with vendors.vendor(plan) as api:
        variables = {
            "BATON_MODELS_DIR": str(models),
            "BATON_TEST_RETRY_S": retry_s,
            "AIRFLOW_CONN_VENDOR": json.dumps({"conn_type": "http", "host": api.url}),
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "tests" / "support" / "brisk_dags"),
        }
        with airflow_stack(tmp_path / "airflow", variables) as stack:
            yield Pulled(stack, api)


@pytest.mark.parametrize(
    ("pulled", "plan"),
    [
        pytest.param((SHORT, "1"), SHORT, id="short", marks=pytest.mark.faults),
        pytest.param((FULL, "10"), FULL, id="full", marks=pytest.mark.faults),
    ],
    indirect=["pulled"],
)
def test_forty_sources_are_pulled_side_by_side_and_the_one_that_fails_is_named_and_run_again_alone(
    pulled: Pulled, plan: Plan
) -> None:
    (never,) = plan.never
    assert pulled.run() == "failed"
    found = pulled.instances()
    assert sorted(found) == sorted(vendors.names())
    assert [name for name, each in found.items() if each["state"] != "success"] == [never]
    assert all(1 < found[name]["try_number"] <= 4 for name in plan.late)
    assert found[never]["try_number"] == 4
    told = pulled.stack.task_log(DAG_ID, RUN_ID, "assemble")
    assert f"1 of 40 sources could not be pulled: source '{never}'" in told
    assert "503" in told
    assert pulled.api.slowed_down > 0
    assert pulled.api.dropped > 0
    slowest_s = max(pulled.result("pull", found[name]["map_index"])["seconds"] for name in plan.slow)
    print(
        f"40 sources at parallelism {PARALLELISM}: the run took {pulled.seconds():.0f} s, the slowest source "
        f"{slowest_s:.0f} s; {len(pulled.api.asked)} requests, {pulled.api.slowed_down} told to slow down, "
        f"{pulled.api.dropped} dropped"
    )
    if plan is FULL:
        assert pulled.seconds() < slowest_s + BOUND_S

    pulled.mend(never)
    again = pulled.instances()
    assert {each["state"] for each in again.values()} == {"success"}
    others = [name for name in again if name != never]
    assert [again[name]["end_date"] for name in others] == [found[name]["end_date"] for name in others]
    assert pulled.result("pull", again[never]["map_index"])["rows"] == vendors.ROWS
    assert pulled.result("assemble")["rows"] == vendors.ROWS
