"""``airflow backfill create`` on a real Airflow with real sources, training, registry, ledger and broker."""

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local import warehouse
from local.credentials import load_or_create, signing_keys_file
from local.kafka.broker import Broker
from scoring.contract.topics import NOTICES
from scoring.promotion.ledger import Ledger
from scoring.registry.mlflow_registry import MlflowRegistry
from scoring.settings import Settings, read_settings
from scoring.topics import ensure_topics
from tests.support.airflow_home import PROJECT
from tests.support.airflow_stack import AirflowStack, airflow_stack
from tests.support.arena import read_all
from tests.support.postgres import MakeDatabase
from training import pipeline
from training.catalog import load_definition
from training.quality.drawing import page
from training.quality.intervals import intervals
from training.results import RunRequest

MODEL, DAG = "flight_delay", "train_flight_delay"
APRIL = datetime(2013, 4, 1, tzinfo=UTC)
AT_ONCE = 2
ENDED = {"success", "failed"}
RUN_LIMIT_S = 240.0


class Ground(msgspec.Struct, frozen=True):
    """Airflow with the flights, and a champion since April."""

    airflow: AirflowStack
    settings: Settings
    broker: Broker

    def backfill(self, first: str, last: str, *, again: bool = False) -> None:
        """Ask for one on the command line, as an operator does."""
        command = [str(PROJECT / ".venv" / "bin" / "airflow"), "backfill", "create", "--dag-id", DAG]
        command += ["--from-date", first, "--to-date", last, "--max-active-runs", str(AT_ONCE)]
        command += ["--reprocess-behavior", "completed"] if again else []
        done = subprocess.run(
            command, check=False, env=self.airflow.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def runs(self) -> list[dict[str, Any]]:
        """The runs of backfills, oldest interval first; the schedule has begun as well."""
        found = self.airflow.client().call("GET", f"/dags/{DAG}/dagRuns?run_type=backfill&order_by=logical_date")
        return list(found["dag_runs"])

    def wait(self, count: int, *, since: datetime) -> list[dict[str, Any]]:
        """Until so many runs, all begun after ``since``, have ended."""
        deadline = time.monotonic() + RUN_LIMIT_S * count
        while True:
            ended = [each for each in self.runs() if each["state"] in ENDED and _moment(each["start_date"]) > since]
            if len(ended) == count and self._no_backfill_is_under_way():
                return ended
            assert time.monotonic() < deadline, f"{len(ended)} of {count} runs have ended"
            time.sleep(1)

    def _no_backfill_is_under_way(self) -> bool:
        """Airflow notes that one has ended some time after its last run, and takes no other one before."""
        found = self.airflow.client().call("GET", f"/backfills?dag_id={DAG}")["backfills"]
        return all(each["completed_at"] for each in found)

    def result(self, run: dict[str, Any], task: str) -> Any:
        """What a task of a run handed on."""
        return self.airflow.client().result(DAG, run["dag_run_id"], task)

    def pulled(self, run: dict[str, Any]) -> Any:
        """What the instance of the only source handed on."""
        place = f"/dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances/pull/xcomEntries/return_value?map_index=0"
        return self.airflow.client().call("GET", place)["value"]

    def tasks(self, run: dict[str, Any]) -> dict[str, str]:
        """The states of a run's tasks."""
        path = f"/dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances"
        found = self.airflow.client().call("GET", path)["task_instances"]
        return {each["task_id"]: each["state"] for each in found}

    def decided(self) -> tuple[list[Any], list[Any]]:
        """The ledger's entries, and every notice that was ever sent."""
        notices = [(each.offset, each.value) for each in read_all(self.broker.bootstrap, NOTICES)]
        return Ledger.open(self.settings.need_ledger_url()).entries(MODEL), notices


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)


@pytest.fixture
def ground(
    tmp_path: Path, own_broker: Broker, make_postgres_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ground]:
    load_or_create(tmp_path / "secrets")
    variables = {
        "BATON_KAFKA_BOOTSTRAP": own_broker.bootstrap,
        "BATON_SIGNING_KEYS_FILE": str(signing_keys_file(tmp_path / "secrets")),
        "BATON_LEDGER_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "BATON_REGISTRY_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "BATON_SNAPSHOT_DIR": str(tmp_path / "snapshots"),
        "BATON_MODELS_DIR": str(PROJECT / "models"),
        "BATON_CONNECTIONS__WAREHOUSE": f"sqlite:///{tmp_path / 'warehouse.db'}",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    warehouse.fill(variables["BATON_CONNECTIONS__WAREHOUSE"])
    promote_first()
    # A command that makes eleven runs beside a busy scheduler finds SQLite locked.
    own = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": make_postgres_database(), "PATH": os.environ["PATH"]}
    with airflow_stack(tmp_path / "stack", {**variables, **own}) as airflow:
        client, deadline = airflow.client(), time.monotonic() + 60
        while DAG not in {each["dag_id"] for each in client.call("GET", "/dags")["dags"]}:
            assert time.monotonic() < deadline, "Airflow has not read the DAG's file"
            time.sleep(0.3)
        client.call("PATCH", f"/dags/{DAG}", {"is_paused": False})
        yield Ground(airflow, read_settings(), own_broker)


def promote_first() -> None:
    """Version 1, live from April on, with its alias and its notice."""
    definition, settings = load_definition(PROJECT / "models", MODEL), read_settings()
    ensure_topics(settings.need_kafka(), [definition.all_topics], definition.partitions).require_good()
    start, run_id = APRIL.replace(month=1), "by hand"
    request = RunRequest(
        model=MODEL, start=start, end=APRIL, run_id=run_id, requested_at=APRIL, actor="ada", effective_from=APRIL
    )
    done = pipeline.run(definition, request, settings, announcing=False)
    assert done.promoted
    assert done.promoted.sequence == 1, done.gated.sentence
    pipeline.announce(definition, request, settings, done.promoted)


@pytest.mark.parametrize(
    ("first", "last", "months"),
    [
        pytest.param("2013-04-01", "2013-05-01", 2, marks=[pytest.mark.faults, pytest.mark.timeout(900)]),
        pytest.param("2013-02-01", "2013-12-01", 11, marks=[pytest.mark.faults, pytest.mark.timeout(5_000)]),
    ],
    ids=["two months", "eleven months"],
)
def test_a_backfill_registers_candidates_moves_nothing_and_does_nothing_twice(
    ground: Ground, tmp_path: Path, first: str, last: str, months: int
) -> None:
    before = ground.decided()
    assert [len(each) for each in before] == [1, 1]
    begun = datetime.now(UTC)
    ground.backfill(first, last)
    runs = ground.wait(months, since=begun)
    assert {each["run_type"] for each in runs} == {"backfill"}
    accepted = check(ground, runs, reused=False)
    assert accepted, "no candidate of any interval was accepted"
    versions = MlflowRegistry(ground.settings.need_registry_uri()).versions(MODEL)
    assert len(versions) == 1 + accepted

    begun = datetime.now(UTC)
    ground.backfill(first, last, again=True)
    again = ground.wait(months, since=begun)
    assert check(ground, again, reused=True) == accepted
    assert MlflowRegistry(ground.settings.need_registry_uri()).versions(MODEL) == versions
    assert ground.decided() == before

    metric, found = intervals(MlflowRegistry(ground.settings.need_registry_uri()).recent_runs(MODEL, 100))
    backfilled = [each for each in found if each.purpose == "backfill"]
    assert (metric, len(backfilled)) == ("auc", months)
    assert all(each.value is not None and 0.5 < each.value < 1 for each in backfilled)
    (tmp_path / "quality.html").write_text(page(MODEL, metric, found))


def check(ground: Ground, runs: list[dict[str, Any]], *, reused: bool) -> int:
    """Each run ended with a candidate that was kept or refused, nobody promoted; how many were kept."""
    kept = 0
    for run in runs:
        states = ground.tasks(run)
        assert run["state"] == "success", (run["dag_run_id"], states)
        assert {states[name] for name in ("promote", "announce", "wait_for_workers")} == {"skipped"}, states
        assert ground.pulled(run)["reused"] is reused
        assert ground.result(run, "assemble")["reused"] is reused
        # The champion's own rows are there from the beginning.
        known = reused or _moment(run["data_interval_end"]) == APRIL
        assert ground.result(run, "train")["reused"] is known
        assert ground.result(run, "snapshot")["reused"] is known
        if states["keep"] == "success":
            kept += 1
            assert ground.result(run, "keep")["purpose"] == "backfill"
            assert ground.result(run, "keep")["reused"] is reused
        else:
            assert states["refused"] == "success", states
    return kept
