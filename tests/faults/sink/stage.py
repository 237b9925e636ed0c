"""What a chunk of rounds shares: a broker, a PostgreSQL server and a nursery for sinks; and what each has to itself."""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local.kafka.broker import Broker
from local.ports import free_ports
from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS, open_database
from tests.faults.daemon.nursery import Child, Nursery
from tests.support.broker import KAFKA_JARS
from tests.support.postgres import PostgresServer, create_database
from tests.support.predicted_stream import PredictedStream

PROGRAM = "tests.faults.sink.faulty_sink"
# What a sink imports late.
LATE = ("psycopg", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite")
SESSION_TIMEOUT_MS = 2_000
# Of a second or two, where nobody else keeps the machine busy.
BROKER_STARTS_WITHIN_S = 240.0


class Ground:
    """A stream of a round's own, tables of its own, and the sinks that fill them."""

    def __init__(self, bootstrap: str, nursery: Nursery, folder: Path, url: str, seed: object) -> None:
        self.url = url
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.stream = PredictedStream(bootstrap, seed=seed)
        self.kills = folder / "kills.jsonl"
        self._nursery = nursery
        self._children: list[Child] = []
        self._environment = {
            **os.environ,
            "BATON_KAFKA_BOOTSTRAP": bootstrap,
            "BATON_PREDICTIONS_URL": url,
            "BATON_MODELS": self.stream.model,
            "BATON_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
            "BATON_SINK_METRICS_PORT": "0",
        }
        database = open_database(url)
        migrate(database, MIGRATIONS)
        database.engine.dispose()

    def start(self, slot: int, plan: Mapping[str, object] | None = None) -> Child:
        """Start a sink that acts as planned."""
        what = json.dumps({**(plan or {}), "kills": str(self.kills)})
        environment = {**self._environment, "BATON_SLOT": str(slot), "FAULT_PLAN": what}
        child = self._nursery.start(environment, self.folder / f"sink-{slot}.log")
        self._children.append(child)
        return child

    def acted(self) -> list[dict[str, object]]:
        """The plans that were carried out."""
        return [json.loads(line) for line in self.kills.read_text().splitlines()] if self.kills.exists() else []

    def logs(self) -> str:
        """The ends of the sinks' logs."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-3_000:]}" for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """End every sink; the topics go."""
        for child in self._children:
            if child.poll() is None:
                child.kill()

    def clear(self) -> None:
        """Drop what only this round needed."""
        self.close()
        self.stream.delete()
        shutil.rmtree(self.folder, ignore_errors=True)


class Stage:
    """A broker, a server and a nursery."""

    def __init__(self, broker: Broker, server: PostgresServer, nursery: Nursery, folder: Path) -> None:
        self.broker = broker
        self.server = server
        self.nursery = nursery
        self.folder = folder
        self._grounds: list[Ground] = []

    def ground(self, name: str, *, postgres: bool, seed: object) -> Ground:
        """Stream and tables of a round's own."""
        folder = self.folder / f"{name}-{uuid.uuid4().hex[:6]}"
        url = create_database(self.server.folder) if postgres else f"sqlite:///{folder / 'predictions.db'}"
        made = Ground(self.broker.bootstrap, self.nursery, folder, url, seed)
        self._grounds.append(made)
        return made

    def clear(self) -> None:
        """Drop what rounds have left."""
        for ground in self._grounds:
            ground.clear()
        self._grounds.clear()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage with a broker and a server of its own."""
    port, controller = free_ports(2)
    with ExitStack() as stack:
        broker = Broker.for_faults(folder / "kafka", ports=(port, controller), jars=KAFKA_JARS)
        stack.callback(broker.stop)
        broker.start(timeout_s=BROKER_STARTS_WITHIN_S)
        socket = Path(tempfile.mkdtemp(prefix="baton-postgres-"))
        stack.callback(lambda: shutil.rmtree(socket, ignore_errors=True))
        server = PostgresServer(socket)
        server.start()
        stack.callback(server.stop)
        nursery = stack.enter_context(Nursery(folder / "nursery.log", PROGRAM, *LATE))
        yield Stage(broker, server, nursery, folder)
