"""Where a chunk of a campaign plays: a broker, a database, a registry, workers and a nursery of its own."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from local.kafka.broker import Broker
from local.ports import free_ports
from scoring.contract.envelope import Keyring
from scoring.contract.manifest import Topics
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.registry.open import open_registry
from scoring.topics import ensure_topics
from tests.faults.promotion.crew import SLOTS, Crew
from tests.faults.promotion.nursery import Nursery
from tests.support.arena import KEY
from tests.support.broker import KAFKA_JARS
from tests.support.ground import Ground
from tests.support.postgres import create_database, postgres_server
from tests.support.promotion_campaign import agreement, candidate, history

DATABASES = ("sqlite", "postgresql")
REGISTRIES = ("folder", "mlflow")
WORKERS = ("simulated", "real")


class Workers(Protocol):
    """Those who serve the models."""

    def hesitate(self, model: str, seconds: float) -> None:
        """Let one worker of a model go live so much later from now on, where that can be had."""
        ...

    def live(self, model: str) -> list[int]:
        """The sequence that each worker of a model says it is live on."""
        ...


class RealWorkers:
    """Two ``baton worker`` processes of a ground."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    def hesitate(self, model: str, seconds: float) -> None:
        """They take their own time."""

    def live(self, model: str) -> list[int]:
        """What their newest heartbeats say; a stream of records goes on meanwhile."""
        assert model == self.ground.model
        self.ground.feed(20)
        states = [self.ground.state(slot) for slot in range(SLOTS)]
        return [int(str(state.get("sequence") or 0)) if state.get("state") == "live" else 0 for state in states]


class Theatre:
    """A ledger, its copies and the workers, with a nursery of processes that decide."""

    def __init__(
        self,
        folder: Path,
        *,
        bootstrap: str,
        ledger_url: str,
        registry_uri: str,
        keys: Path,
        models: list[str],
        workers: Workers | None = None,
    ) -> None:
        self.folder = folder
        self.bootstrap = bootstrap
        self.ledger_url = ledger_url
        self.registry_uri = registry_uri
        self.keys = keys
        self.models = models
        self.keyring = Keyring.from_json(keys.read_bytes())
        self.kafka = {"bootstrap.servers": bootstrap}
        self.ledger = Ledger.open(ledger_url)
        self.registry = open_registry(registry_uri)
        self.board = KafkaNotices(self.kafka, self.keyring, self.ledger)
        self.workers = workers
        self.nursery: Nursery

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a command that is run here."""
        return {
            "BATON_KAFKA_BOOTSTRAP": self.bootstrap,
            "BATON_SIGNING_KEYS_FILE": str(self.keys),
            "BATON_LEDGER_URL": self.ledger_url,
            "BATON_REGISTRY_URI": self.registry_uri,
        }

    def register(self, model: str) -> tuple[str, str]:
        """Put the next candidate into the registry; returns its version and its digest."""
        number = len(self.registry.versions(model)) + 1
        folder = self.folder / "made" / model / str(number)
        digest = candidate(folder, model, number)
        version = self.registry.register(model, folder, {})
        assert version == str(number)
        return version, digest

    def hesitate(self, model: str, seconds: float) -> None:
        """Let one worker of a model go live so much later from now on."""
        if self.workers is not None:
            self.workers.hesitate(model, seconds)

    def agree(self, model: str) -> float:
        """Seconds until ledger, alias, the topic's head and every worker agree; AssertionError where they do not."""
        assert self.workers is not None
        return agreement(model, self.ledger, self.registry, self.board, self.workers.live)

    def head(self, model: str) -> int:
        """The sequence of the ledger's head; 0 where it has none."""
        found = self.ledger.head(model)
        return found.sequence if found else 0

    def check_history(self) -> dict[str, int]:
        """Hold every notice that was ever on the topic against the ledger."""
        return dict(history(self.bootstrap, self.ledger, self.keyring, self.models))


@contextmanager
def theatre(folder: Path, *, database: str, registry: str, workers: str, lanes: int) -> Iterator[Theatre]:
    """Open one, with as many models as lanes; everything that it started has ended when it is left."""
    with ExitStack() as stack:
        port, controller = free_ports(2)
        broker = Broker.for_faults(folder / "kafka", ports=(port, controller), jars=KAFKA_JARS)
        stack.enter_context(broker)
        ledger_url = f"sqlite:///{folder / 'ledger.db'}"
        if database == "postgresql":
            ledger_url = create_database(stack.enter_context(postgres_server()))
        ground = stack.enter_context(_ground(broker, folder)) if workers == "real" else None
        models = [ground.model] if ground else [f"m{uuid4().hex[:8]}" for _ in range(lanes)]
        made = Theatre(
            folder,
            bootstrap=broker.bootstrap,
            ledger_url=ledger_url,
            registry_uri=_registry_uri(folder, registry),
            keys=_keys(folder),
            models=models,
        )
        if ground is None:
            ensure_topics(made.kafka, [Topics.of(model) for model in models], SLOTS)
            made.workers = stack.enter_context(Crew(made.kafka, made.keyring, made.ledger.identity(), models))
        else:
            made.workers = RealWorkers(ground)
            for slot in range(SLOTS):
                ground.start(slot)
        made.nursery = stack.enter_context(Nursery(folder, made.environment))
        yield made


@contextmanager
def _ground(broker: Broker, folder: Path) -> Iterator[Ground]:
    made = Ground(broker.bootstrap, folder)
    try:
        yield made
    finally:
        made.close()


def _registry_uri(folder: Path, registry: str) -> str:
    if registry == "mlflow":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        return f"sqlite:///{folder / 'mlflow.db'}"
    (folder / "registry").mkdir(exist_ok=True)
    return (folder / "registry").as_uri()


def _keys(folder: Path) -> Path:
    path = folder / "keys.json"
    path.write_text(json.dumps({"active": "k1", "keys": {"k1": KEY}}))
    return path
