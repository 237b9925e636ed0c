"""DAG runs with nothing replaced: real sources, training, registry, ledger, broker, and a real daemon."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from baton_airflow.factory import build_dag
from local import warehouse
from local.credentials import load_or_create, signing_keys_file
from local.demo.oracle import judge, prediction_outcome
from local.demo.records import read_topic
from local.demo.watch import Watcher
from local.kafka.broker import Broker
from local.replay import Replay, read_messages, steady
from scoring.settings import read_settings
from scoring.topics import ensure_topics
from tests.support import deliveries
from tests.support.airflow_home import PROJECT
from training.catalog import load_definition, load_definitions
from training.definition import ModelDefinition

pytestmark = pytest.mark.timeout(1_200)

MODELS = ("delivery_minutes", "flight_delay")
INTERVALS = {
    "delivery_minutes": ("2024-01-01", "2024-04-01", "2024-04-01"),
    "flight_delay": ("2013-01-01", "2013-04-01", "2013-04-01"),
}
PERIODS = {
    "delivery_minutes": (datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 4, 15, tzinfo=UTC)),
    "flight_delay": (datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 4, 2, tzinfo=UTC)),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with both definitions and their suites, each as it stands in the repository."""
    for folder in (PROJECT, PROJECT / "tests"):
        for part in ("models", "expectations"):
            shutil.copytree(folder / part, tmp_path / part, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def stack(project: Path, own_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a stack of its own: broker, ledger, registry, caches, and the two companies' databases."""
    load_or_create(project / "secrets")
    (project / "registry").mkdir()
    variables = {
        "BATON_KAFKA_BOOTSTRAP": own_broker.bootstrap,
        "BATON_SIGNING_KEYS_FILE": str(signing_keys_file(project / "secrets")),
        "BATON_LEDGER_URL": f"sqlite:///{project / 'ledger.db'}",
        "BATON_REGISTRY_URI": (project / "registry").as_uri(),
        "BATON_CACHE_DIR": str(project / "cache"),
        "BATON_SNAPSHOT_DIR": str(project / "snapshots"),
        "BATON_MODELS_DIR": str(project / "models"),
        "BATON_MODELS": ",".join(MODELS),
        "BATON_CONNECTIONS__PARCELS": f"sqlite:///{project / 'parcels.db'}",
        "BATON_CONNECTIONS__WAREHOUSE": f"sqlite:///{project / 'warehouse.db'}",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    deliveries.fill(variables["BATON_CONNECTIONS__PARCELS"])
    return project


@pytest.fixture
def topics(stack: Path) -> None:
    for definition in load_definitions(stack / "models").values():
        report = ensure_topics(read_settings().need_kafka(), [definition.all_topics], definition.partitions)
        report.require_good()


@pytest.fixture
def daemon(stack: Path, topics: None) -> Iterator[subprocess.Popen[bytes]]:
    """One worker that serves both models."""
    with (stack / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scoring", "worker"], env=dict(os.environ), stdout=log, stderr=subprocess.STDOUT
        )
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


RunDag = Callable[[str], Any]


@pytest.fixture
def run_dag(stack: Path) -> RunDag:
    def run(model: str) -> Any:
        start, end, effective_from = INTERVALS[model]
        dag = build_dag(load_definition(stack / "models", model))
        for task in dag.tasks:
            task.retries = 0  # what goes wrong here is wrong
        return dag.test(run_conf={"start": start, "end": end, "effective_from": effective_from, "reason": "a test"})

    return run


def states(run: Any) -> dict[str, str]:
    return {instance.task_id: str(instance.state) for instance in run.get_task_instances()}


def check_stream(definition: ModelDefinition) -> None:
    """Replay a period, and hold every prediction against its record."""
    settings, names = read_settings(), definition.all_topics
    records = read_messages(definition, settings, *PERIODS[definition.name])
    assert len(records) > 500
    kafka = settings.need_kafka()
    sent = Replay(kafka, names.input, records, run_id=definition.name).run(steady(2_000))
    with Watcher(kafka, names.predictions, definition.partitions) as watcher:
        assert watcher.wait_for(lambda: watcher.total >= sent, 240)
    outcomes = [prediction_outcome(record) for record in read_topic(kafka, names.predictions)]
    same = {name: name for name in definition.pass_through}
    found = judge(names.input, read_topic(kafka, names.input), outcomes, sent=sent, pass_through=same)
    assert found.complaints() == []
    assert {outcome.document["model"] for outcome in outcomes} == {definition.name}


def test_two_models_of_different_shape_go_through_one_factory_and_are_served_by_one_worker(
    stack: Path, daemon: subprocess.Popen[bytes], run_dag: RunDag
) -> None:
    warehouse.fill(os.environ["BATON_CONNECTIONS__WAREHOUSE"])
    for model in MODELS:
        ended = run_dag(model)
        assert ended.state == "success", states(ended)
        waited = ended.get_task_instance("wait_for_workers").xcom_pull(task_ids="wait_for_workers")
        assert waited["state"] == "converged", waited
    for model in MODELS:
        check_stream(load_definition(stack / "models", model))
    assert daemon.poll() is None


def test_a_run_on_damaged_data_ends_red_with_its_verdicts_readable_and_promotes_nothing(
    stack: Path, topics: None, run_dag: RunDag
) -> None:
    engine = sa.create_engine(os.environ["BATON_CONNECTIONS__PARCELS"])
    with engine.begin() as connection:
        connection.execute(sa.text("update deliveries set depot = 'nowhere', km = -km where order_id % 3 = 0"))
    engine.dispose()
    ended = run_dag("delivery_minutes")
    found = states(ended)
    assert ended.state == "failed"
    assert (found["validate"], found["train"], found["gates"]) == ("failed", "upstream_failed", "failed")
    assert (found["register"], found["promote"]) == ("success", "upstream_failed")
    for task_id in ("validate", "gates"):
        verdicts = ended.get_task_instance(task_id).xcom_pull(task_ids=task_id, key="verdicts")
        refused = [verdict for verdict in verdicts if verdict["judgement"] == "fail"]
        assert [verdict["gate"] for verdict in refused] == ["data"]
        assert refused[0]["sentence"]
        assert json.loads(json.dumps(verdicts)) == verdicts
