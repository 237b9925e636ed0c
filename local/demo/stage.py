"""Where the demonstration plays: the local stack, with what an earlier demonstration left in it cleared away."""

import base64
import json
import os
import shutil
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from confluent_kafka.admin import AdminClient

from local.credentials import airflow_passwords_file, load_or_create
from local.demo.airflow import Airflow
from local.demo.errors import DemoFailed
from local.environment import stack_environment
from local.prepare import migrate_predictions
from local.programs import BATON_COMMANDS, programs
from local.settings import COMPONENTS, StackSettings
from local.stack import Stack
from local.supervisor import Supervisor
from scoring.contract.errors import ConfigurationError
from scoring.contract.topics import control_topics, model_topics
from scoring.promotion.ledger import Ledger
from scoring.settings import Settings, read_settings
from scoring.topics import TopicReport, ensure_topics
from training.catalog import load_definition
from training.definition import ModelDefinition

MODEL = "flight_delay"
_GONE_WITHIN_S = 30.0


class StageError(DemoFailed):
    """The stack cannot be used for a demonstration."""


@dataclass(frozen=True)
class Stage:
    """The stack at ``local``; its variables are put into this process's environment by ``enter``."""

    local: StackSettings
    say: Callable[[str], None]

    def enter(self) -> None:
        """Make this process see what the stack's processes see."""
        secrets = load_or_create(self.local.secrets_dir)
        os.environ.update(stack_environment(self.local, secrets, path=os.environ.get("PATH", os.defpath)))

    @cached_property
    def settings(self) -> Settings:
        """Baton's settings for the stack; call ``enter`` first."""
        return read_settings()

    @cached_property
    def definition(self) -> ModelDefinition:
        """The model of the demonstration."""
        return load_definition(self.local.project_dir / "models", MODEL)

    @property
    def kafka(self) -> dict[str, Any]:
        """librdkafka options that reach the broker."""
        return self.settings.need_kafka()

    @property
    def warehouse_url(self) -> str:
        """SQLAlchemy URL of the warehouse."""
        return self.settings.need_connection(self.definition.declared_sources[0].place.connection)

    @property
    def warehouse_file(self) -> Path:
        """The warehouse's database."""
        return Path(self.warehouse_url.removeprefix("sqlite:///"))

    @property
    def passwords_file(self) -> Path:
        """JSON with the passwords of Airflow's users."""
        return airflow_passwords_file(self.local.secrets_dir)

    def airflow(self) -> Airflow:
        """A client of Airflow, logged in as admin."""
        passwords = json.loads(self.passwords_file.read_text())
        return Airflow(self.local.airflow_url, "admin", passwords["admin"])

    def stop_services(self) -> None:
        """Stop daemon, sink and API, where they run."""
        supervisor = Supervisor(self.local)
        if supervisor.alive():
            supervisor.stop([state.name for state in supervisor.states() if state.name in BATON_COMMANDS])

    def up(self) -> None:
        """Start what does not run yet, all but Baton's own services, and wait until it is ready."""
        components = [name for name in COMPONENTS if name not in BATON_COMMANDS]
        Stack(self.local, caller=os.environ, say=self.say).up(components)

    def start_services(self) -> None:
        """Start daemon, sink and API beside what runs."""
        migrate_predictions(self.local)
        supervisor = Supervisor(self.local)
        supervisor.configure(programs(self.local, COMPONENTS))
        supervisor.reload()
        for name in BATON_COMMANDS:
            supervisor.start_program(name)
        self.say("daemon, sink and API are started; they have no model yet and wait for one")

    def require_own_ledger(self) -> None:
        """Refuse to clear away anybody's work: the ledger may hold this model's entries only.

        Raises:
            StageError: it holds others.
        """
        try:
            ledger = Ledger.open(self.settings.need_ledger_url(), migrating=False)
        except ConfigurationError:
            return  # there is no ledger yet
        others = sorted(set(ledger.models()) - {MODEL})
        if others:
            raise StageError(
                f"the stack in {self.local.state_dir} also serves {', '.join(others)}, and a demonstration begins by "
                "clearing the ledger; give it a stack of its own: make down; BATON_STATE_DIR=var/demo-stack make demo"
            )

    def clear(self) -> None:
        """Forget every version: runs, topics, ledger, tables, registered versions, snapshots, the cache."""
        self.airflow().forget_runs(f"train_{MODEL}")
        _delete_topics(self.kafka, self._topic_names())
        for name in ("ledger.db*", "predictions.db*"):
            for path in self.local.state_dir.glob(name):
                path.unlink()
        for folder in (self.settings.need_cache_dir(), self.settings.need_snapshot_dir()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        _delete_registered_model(self.local.mlflow_url, MODEL)

    def create_topics(self) -> TopicReport:
        """Create the topics and check that they are as they must be.

        Raises:
            ConfigurationError: lists what is not.
        """
        report = ensure_topics(self.kafka, [self.definition.all_topics], self.definition.partitions)
        report.require_good()
        return report

    def open_warehouse_for_readers(self) -> None:
        """Let the daemon read the warehouse while the demonstration damages it."""
        connection = sqlite3.connect(self.warehouse_file)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()

    def _topic_names(self) -> list[str]:
        specs = (*control_topics(), *model_topics(self.definition.all_topics, self.definition.partitions))
        return [spec.name for spec in specs]


def _delete_topics(kafka: dict[str, Any], names: Iterable[str]) -> None:
    admin = AdminClient({**kafka, "log_level": 4})
    there = [name for name in names if name in admin.list_topics(timeout=10).topics]
    if not there:
        return
    for future in admin.delete_topics(there, operation_timeout=_GONE_WITHIN_S).values():
        future.result()
    deadline = time.monotonic() + _GONE_WITHIN_S
    while left := [name for name in there if name in admin.list_topics(timeout=10).topics]:
        if time.monotonic() > deadline:
            raise StageError(f"the broker does not let go of the topics {', '.join(left)}")
        time.sleep(0.1)


def _delete_registered_model(mlflow_url: str, model: str) -> None:
    login = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
    request = urllib.request.Request(  # noqa: S310 - an address of the local stack
        f"{mlflow_url}/api/2.0/mlflow/registered-models/delete?name={quote(model)}",
        json.dumps({"name": model}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"},
        method="DELETE",
    )
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise StageError(f"MLflow does not delete the model {model}: {error.read().decode()[:300]}") from error
