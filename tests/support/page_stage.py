"""What the page is looked at on: a real Airflow, broker, MLflow and worker, with a champion and a refused candidate."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from local.credentials import airflow_passwords_file, signing_keys_file
from local.kafka.broker import Broker
from local.ports import free_ports
from scoring.contract.manifest import Topics
from scoring.promotion.ledger import Ledger
from scoring.settings import Settings
from scoring.topics import ensure_topics
from scoring.worker.supervisor import END_PATIENCE_S
from tests.support import deliveries
from tests.support.airflow_home import PROJECT
from tests.support.airflow_stack import AirflowStack, airflow_stack
from tests.support.broker import KAFKA_JARS
from training import pipeline
from training.catalog import load_definition
from training.definition import Estimator, ModelDefinition
from training.results import Purpose, RunRequest

MODEL = "delivery_minutes"
DAG = f"train_{MODEL}"
# Roles of the simple auth manager: what the third may do stands between that of the other two.
USERS = {"admin": "admin", "viewer": "viewer", "olga": "user"}
_ASKING = """
    approval=Approval(within=timedelta(hours=2), by=["admin"]),
    tunable={"alpha": between(0.1, 100.0)},
)
"""


class PageStage:
    """Everything that runs, and what a test does to it."""

    def __init__(self, folder: Path, broker: Broker, airflow: AirflowStack, settings: Settings) -> None:
        self.folder = folder
        self.broker = broker
        self.airflow = airflow
        self.settings = settings
        self.ledger = Ledger.open(settings.need_ledger_url())

    @property
    def url(self) -> str:
        """Of the page."""
        return f"{self.airflow.settings.airflow_url}/baton/"

    def password(self, user: str) -> str:
        """Of one of USERS."""
        passwords = json.loads(airflow_passwords_file(self.airflow.settings.secrets_dir).read_text())
        return str(passwords[user])

    def feed(self, records: int, malformed: int) -> None:
        """Send orders, and what is none."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for number in range(records):
            producer.produce(Topics.of(MODEL).input, json.dumps(_order(number)))
        for _ in range(malformed):
            producer.produce(Topics.of(MODEL).input, b'{"order_id": "a secret"')
        producer.flush(20)

    def keep_candidate(self) -> str:
        """A dry run outside of Airflow; returns the version that it registered."""
        request = msgspec.structs.replace(_request(deliveries.END, "kept"), purpose=Purpose.DRY_RUN)
        asking = load_definition(self.folder / "models", MODEL)  # outside of Airflow nobody can be asked
        finished = pipeline.run(asking, request, self.settings, announcing=False)
        assert finished.registered.version is not None, finished.gated
        return finished.registered.version

    @contextmanager
    def without_ledger(self) -> Iterator[None]:
        """The ledger's database is away meanwhile."""
        with _away(self.folder / "ledger.db"):
            yield

    @contextmanager
    def without_registry(self) -> Iterator[None]:
        """MLflow's database cannot be read meanwhile."""
        with _spoilt(self.folder / "mlflow.db"):
            yield


@contextmanager
def page_stage(folder: Path) -> Iterator[PageStage]:
    """Open one; everything that it started has ended when it is left."""
    with ExitStack() as stack:
        port, controller = free_ports(2)
        broker = stack.enter_context(Broker.for_faults(folder / "kafka", ports=(port, controller), jars=KAFKA_JARS))
        _definitions(folder)
        deliveries.fill(f"sqlite:///{folder / 'parcels.db'}")
        variables = _variables(folder, broker.bootstrap)
        airflow = stack.enter_context(airflow_stack(folder / "airflow", variables))
        settings = _settings(folder, broker.bootstrap, signing_keys_file(airflow.settings.secrets_dir))
        ensure_topics(settings.need_kafka(), [Topics.of(MODEL)], 2)
        stage = PageStage(folder, broker, airflow, settings)
        stack.enter_context(_worker(stage))
        _first_champion(stage)
        _refused_candidate(stage)
        yield stage


def _order(number: int) -> dict[str, object]:
    return {
        "order_id": number,
        "placed_at": "2024-04-10T10:00:00Z",
        "promised_at": "2024-04-10T11:00:00Z",
        "depot": deliveries.DEPOTS[number % 3],
        "kilometres": 2.0 + number % 7,
        "kilograms": 1.0,
        "express": False,
    }


def _definitions(folder: Path) -> None:
    """The deliveries, as a model that asks a person and may be tuned."""
    source = (PROJECT / "tests" / "models" / f"{MODEL}.py").read_text()
    head, _, _ = source.rstrip().rpartition(")")
    head = head.replace("from training.definition import ", "from training.definition import Approval, between, ", 1)
    (folder / "models").mkdir()
    (folder / "models" / f"{MODEL}.py").write_text(head.rstrip() + _ASKING)
    shutil.copytree(PROJECT / "tests" / "expectations", folder / "expectations")


def _variables(folder: Path, bootstrap: str) -> dict[str, str]:
    return {
        "BATON_KAFKA_BOOTSTRAP": bootstrap,
        "BATON_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        "BATON_REGISTRY_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "BATON_SNAPSHOT_DIR": str(folder / "snapshots"),
        "BATON_MODELS_DIR": str(folder / "models"),
        "BATON_CONNECTIONS__PARCELS": f"sqlite:///{folder / 'parcels.db'}",
        "BATON_MODELS": MODEL,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
    }


def _settings(folder: Path, bootstrap: str, keys: Path) -> Settings:
    return Settings(
        kafka_bootstrap=bootstrap,
        signing_keys_file=keys,
        ledger_url=f"sqlite:///{folder / 'ledger.db'}",
        registry_uri=f"sqlite:///{folder / 'mlflow.db'}",
        snapshot_dir=folder / "snapshots",
        connections={"parcels": f"sqlite:///{folder / 'parcels.db'}"},
    )


@contextmanager
def _worker(stage: PageStage) -> Iterator[None]:
    """One real worker of the model, supervised: one that its broker has fenced ends, and another follows."""
    environment = {
        **stage.airflow.environment,
        "BATON_CACHE_DIR": str(stage.folder / "cache"),
        "BATON_METRICS_PORT": "0",
    }
    with (stage.folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scoring", "worker", "--processes", "1"],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=PROJECT,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(END_PATIENCE_S + 60)


def _first_champion(stage: PageStage) -> None:
    """Trained on the first three months, promoted, and live at the worker."""
    request = _request(deliveries.START.replace(month=4), "first")
    finished = pipeline.run(_own(stage), request, stage.settings, limit=timedelta(minutes=5))
    assert finished.waited is not None, finished.gated
    assert finished.waited.green, finished.waited


def _refused_candidate(stage: PageStage) -> None:
    """One that has learned next to nothing, and is refused for it."""
    dull = Estimator(
        "sklearn.pipeline.make_pipeline",
        Estimator("sklearn.impute.SimpleImputer"),
        Estimator("sklearn.preprocessing.StandardScaler"),
        Estimator("sklearn.linear_model.Ridge", alpha=1e6),
    )
    definition = msgspec.structs.replace(_own(stage), estimator=dull, tunable={})
    finished = pipeline.run(
        definition, _request(deliveries.END - timedelta(days=10), "dull"), stage.settings, announcing=False
    )
    assert not finished.promoted


def _own(stage: PageStage) -> ModelDefinition:
    """The definition, asking nobody: outside of Airflow nobody could be asked."""
    return msgspec.structs.replace(load_definition(stage.folder / "models", MODEL), approval=None)


def _request(end: datetime, run_id: str) -> RunRequest:
    return RunRequest(
        model=MODEL,
        start=deliveries.START,
        end=end,
        run_id=run_id,
        requested_at=datetime.now(UTC),
        actor="olga",
        reason="the first one" if run_id == "first" else "try a stronger penalty",
    )


@contextmanager
def _away(path: Path) -> Iterator[None]:
    hidden = path.with_suffix(".away")
    path.rename(hidden)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        hidden.rename(path)


@contextmanager
def _spoilt(path: Path) -> Iterator[None]:
    """In place: a client that has the file open would hold on to another one for ever."""
    head = path.read_bytes()[:100]
    _begin_with(path, b"this is no database " * 5)
    try:
        yield
    finally:
        _begin_with(path, head)


def _begin_with(path: Path, head: bytes) -> None:
    with path.open("r+b") as file:
        file.write(head)
