"""The same DAGs on either of two Airflows: that of one machine, and that of a cluster, with a worker that scores."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from local.credentials import load_or_create, signing_keys_file
from local.demo.airflow import RunEnd
from local.environment import process_environment
from local.ports import free_ports
from local.readiness import fetch
from scoring.contract.manifest import Topics
from scoring.settings import Settings
from scoring.topics import ensure_topics
from scoring.worker.supervisor import END_PATIENCE_S
from tests.support import deliveries
from tests.support.airflow_home import PROJECT
from tests.support.airflow_stack import PROCESSES, AirflowStack, airflow_stack
from tests.support.arena import read_all, wait_until
from tests.support.postgres import create_database
from tests.support.redis import redis_server
from training.catalog import load_definition
from training.messages import messages

MODEL = "delivery_minutes"
MODELS_DIR = PROJECT / "tests" / "models"
CELERY_WORKERS = ("one", "two")
RUN_LIMIT_S = 900.0
_DAG_KNOWN_WITHIN_S = 240.0
_MLFLOW_READY_WITHIN_S = 240.0


class Backing(msgspec.Struct, frozen=True):
    """What an Airflow rests on: its processes, and the variables that lead to databases, queue and registry."""

    processes: Mapping[str, tuple[str, ...]]
    variables: Mapping[str, str]


class Cluster(msgspec.Struct, frozen=True):
    """An Airflow that runs the DAG of the deliveries, and what its tasks and a worker share."""

    airflow: AirflowStack
    variables: Mapping[str, str]
    folder: Path

    def train(self, start: datetime, end: datetime) -> RunEnd:
        """A run by hand over ``[start, end)``, followed to its end."""
        client = self.airflow.client()
        conf = {"start": start.isoformat(), "end": end.isoformat(), "reason": "a test"}
        run_id = client.start(f"train_{MODEL}", conf, known_within_s=_DAG_KNOWN_WITHIN_S)
        return client.follow(f"train_{MODEL}", run_id, lambda _: None, limit_s=RUN_LIMIT_S)

    def send(self, start: datetime, end: datetime) -> int:
        """Produce the orders of ``[start, end)`` as records; returns how many there are."""
        found = list(messages(load_definition(MODELS_DIR, MODEL), self.settings(), start, end))
        producer = Producer({"bootstrap.servers": self.variables["BATON_KAFKA_BOOTSTRAP"]})
        for message in found:
            producer.produce(Topics.of(MODEL).input, message.value, message.key)
        assert producer.flush(30) == 0
        return len(found)

    def predictions(self, wanted: int) -> list[dict[str, Any]]:
        """All predictions, once there are as many as wanted."""
        bootstrap, topic = self.variables["BATON_KAFKA_BOOTSTRAP"], Topics.of(MODEL).predictions
        wait_until(lambda: len(read_all(bootstrap, topic)) >= wanted, 240.0, "predictions are missing", every_s=0.5)
        return [json.loads(record.value or b"") for record in read_all(bootstrap, topic)]

    def settings(self) -> Settings:
        """The settings of the tasks, for the test itself."""
        return Settings(connections={"parcels": self.variables["BATON_CONNECTIONS__PARCELS"]})


@contextmanager
def on_one_machine(folder: Path) -> Iterator[Backing]:
    """LocalExecutor and SQLite, and a folder as registry."""
    (folder / "registry").mkdir()
    databases = {
        "BATON_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        "BATON_CONNECTIONS__PARCELS": f"sqlite:///{folder / 'parcels.db'}",
        "BATON_REGISTRY_URI": (folder / "registry").as_uri(),
    }
    yield Backing(PROCESSES, databases)


@contextmanager
def on_a_cluster(folder: Path, postgres: Path) -> Iterator[Backing]:
    """Celery with two workers of one process each, Redis, PostgreSQL, and MLflow's server with passwords."""
    airflow = create_database(postgres)
    with redis_server(folder) as queue, mlflow_server(folder, create_database(postgres)) as registry:
        variables = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow,
            "AIRFLOW__CELERY__BROKER_URL": queue,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{airflow}",
            "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            "C_FORCE_ROOT": "true",
            "BATON_LEDGER_URL": create_database(postgres),
            "BATON_CONNECTIONS__PARCELS": create_database(postgres),
            **registry,
        }
        yield Backing({**PROCESSES, **{name: _celery_worker(name) for name in CELERY_WORKERS}}, variables)


@contextmanager
def cluster(folder: Path, backing: Backing, bootstrap: str) -> Iterator[Cluster]:
    """Airflow on ``backing``, and a worker, both on a broker whose topics are made here."""
    keys = folder / "secrets"
    load_or_create(keys)
    variables = {
        **backing.variables,
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PARALLELISM": "2",
        "BATON_MODELS": MODEL,
        "BATON_MODELS_DIR": str(MODELS_DIR),
        "BATON_KAFKA_BOOTSTRAP": bootstrap,
        "BATON_SIGNING_KEYS_FILE": str(signing_keys_file(keys)),
        "BATON_SNAPSHOT_DIR": str(folder / "snapshots"),
        "BATON_CACHE_DIR": str(folder / "cache"),
        "BATON_DEPLOYMENT": f"d{uuid4().hex[:8]}",
        "BATON_METRICS_PORT": "0",
    }
    deliveries.fill(variables["BATON_CONNECTIONS__PARCELS"])
    environment = process_environment(os.environ, variables)
    _baton(environment, "ledger", "migrate")
    ensure_topics({"bootstrap.servers": bootstrap}, [Topics.of(MODEL)], 2)
    with ExitStack() as stack:
        stack.enter_context(_worker(folder, environment))
        airflow = stack.enter_context(airflow_stack(folder / "airflow", variables, backing.processes))
        yield Cluster(airflow, variables, folder)


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[dict[str, str]]:
    """MLflow's server as the compose file starts it; gives the variables that reach it."""
    (port,) = free_ports(1)
    password = "the registry's own"
    (folder / "mlflow-auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {database}\nadmin_username = admin\n"
        f"admin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    program = str(Path(sys.executable).with_name("mlflow"))
    command = [program, "server", "--app-name=basic-auth", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "mlflow-auth.ini"),
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    url = f"http://127.0.0.1:{port}"
    with _running(command, process_environment(os.environ, variables), folder / "mlflow.log") as server:
        deadline = time.monotonic() + _MLFLOW_READY_WITHIN_S
        while fetch(f"{url}/health") is None:
            assert server.poll() is None, (folder / "mlflow.log").read_text()[-3_000:]
            assert time.monotonic() < deadline, f"MLflow does not answer after {_MLFLOW_READY_WITHIN_S} s"
            time.sleep(0.2)
        yield {
            "BATON_REGISTRY_URI": url,
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": password,
        }


def _celery_worker(name: str) -> tuple[str, ...]:
    return ("celery", "worker", f"--celery-hostname={name}@%h", "--concurrency=1", "--skip-serve-logs")


@contextmanager
def _worker(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A supervised one: on a busy machine its broker may fence it, it ends, and another follows."""
    command = [sys.executable, "-m", "scoring", "worker", "--processes", "1"]
    with _running(command, environment, folder / "worker.log"):
        yield


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], log_file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log_file.open("ab") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log, cwd=PROJECT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(END_PATIENCE_S + 60)


def _baton(environment: Mapping[str, str], *words: str) -> None:
    command = [sys.executable, "-m", "scoring", *words]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
