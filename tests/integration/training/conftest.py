"""The flights in a warehouse and the made-up deliveries, each filled once; pipelines that end with the decision."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local import warehouse
from scoring.registry.open import open_registry
from scoring.settings import Settings
from tests.support import deliveries, readings
from tests.support.gate_table.stage import DELIVERIES, FLIGHTS, MACHINES, OUTCOMES, DataSet
from tests.support.postgres import MakeDatabase
from tests.support.training import ROOT
from training import pipeline
from training.catalog import load_definition
from training.definition import ModelDefinition
from training.pipeline import Finished
from training.pull import column_types
from training.results import RunRequest
from training.snapshot import read_snapshot

# With busy neighbours the threads of OpenMP spin: a fit of a tenth of a second then takes several.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Great Expectations, MLflow and pandas warn of things that nobody here can mend; our own warnings stay errors.
_WARNINGS = ("ignore", r"error::Warning:(training|scoring)(\..*)?")

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.filterwarnings(*_WARNINGS))


def month(number: int) -> datetime:
    """The beginning of a month of 2013."""
    return datetime(2013, number, 1, tzinfo=UTC)


class Relay(msgspec.Struct, frozen=True):
    """A model with all that its pipeline needs, in folders and databases of its own."""

    definition: ModelDefinition
    settings: Settings

    def request(self, start: datetime, end: datetime, run_id: str = "", **changes: Any) -> RunRequest:
        """A run over ``[start, end)`` whose version counts from the end of its data on."""
        values: dict[str, Any] = {"effective_from": end, "requested_at": NOW, "actor": "somebody", **changes}
        name = run_id or f"until {end:%Y-%m}"
        return RunRequest(model=self.definition.name, start=start, end=end, run_id=name, **values)

    def run(self, request: RunRequest) -> Finished:
        """All steps up to the decision."""
        return pipeline.run(self.definition, request, self.settings, announcing=False)

    def changed(self, **changes: Any) -> "Relay":
        """With another definition of the same model."""
        return Relay(msgspec.structs.replace(self.definition, **changes), self.settings)


MakeRelay = Callable[..., Relay]


@pytest.fixture(scope="session")
def warehouse_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warehouse") / "warehouse.db"
    warehouse.fill(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables: they are made once and copied."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_registry(f"sqlite:///{path}").versions("none")
    return path


def flights_in(folder: Path, warehouse_file: Path, registry_uri: str) -> Relay:
    return Relay(
        load_definition(ROOT / "models", "flight_delay"),
        Settings(
            snapshot_dir=folder / "snapshots",
            connections={"warehouse": f"sqlite:///{warehouse_file}"},
            registry_uri=registry_uri,
            ledger_url=f"sqlite:///{folder / 'ledger.db'}",
        ),
    )


@pytest.fixture
def flights(tmp_path: Path, warehouse_file: Path) -> Relay:
    """The flights with an empty ledger and an empty folder as registry."""
    (tmp_path / "registry").mkdir()
    return flights_in(tmp_path, warehouse_file, (tmp_path / "registry").as_uri())


class Promoted(msgspec.Struct, frozen=True):
    """The flights after a first version was promoted: trained on January and February, judged on March."""

    relay: Relay
    first: Finished
    folder: Path

    def copy(self, folder: Path) -> Relay:
        """The same ledger and registry once more, for a test that goes on from there."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        settings = self.relay.settings
        changed = {"registry_uri": (folder / "registry").as_uri(), "ledger_url": f"sqlite:///{folder / 'ledger.db'}"}
        return Relay(
            self.relay.definition, settings.model_copy(update={**changed, "snapshot_dir": folder / "snapshots"})
        )


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory, warehouse_file: Path) -> Promoted:
    folder = tmp_path_factory.mktemp("promoted")
    (folder / "registry").mkdir()
    relay = flights_in(folder, warehouse_file, (folder / "registry").as_uri())
    return Promoted(relay, relay.run(relay.request(month(1), month(4))), folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def parcels_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The made-up deliveries in a database of either kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'parcels.db'}"
    else:
        make: MakeDatabase = request.getfixturevalue("make_postgres_database")
        url = make()
    deliveries.fill(url)
    return url


def parcels_in(folder: Path, url: str) -> Relay:
    return made_up_in(folder, "delivery_minutes", {"parcels": url})


def made_up_in(
    folder: Path, model: str, connections: dict[str, str], models: Path = ROOT / "tests" / "models"
) -> Relay:
    """A model of the tests' own with an empty ledger and a folder as registry."""
    (folder / "registry").mkdir(exist_ok=True)
    return Relay(
        load_definition(models, model),
        Settings(
            snapshot_dir=folder / "snapshots",
            connections=connections,
            registry_uri=(folder / "registry").as_uri(),
            ledger_url=f"sqlite:///{folder / 'ledger.db'}",
        ),
    )


@pytest.fixture
def parcels(tmp_path: Path, parcels_url: str) -> Relay:
    return parcels_in(tmp_path, parcels_url)


def outcomes_in(folder: Path, url: str) -> Relay:
    """The made-up deliveries once more, as a model of several classes."""
    models = ROOT / "tests" / "support" / "gate_table" / "models"
    return made_up_in(folder, "delivery_outcome", {"parcels": url}, models)


@pytest.fixture
def outcomes(tmp_path: Path) -> Relay:
    url = f"sqlite:///{tmp_path / 'parcels.db'}"
    deliveries.fill(url)
    return outcomes_in(tmp_path, url)


DataSets = Callable[[str], DataSet]


@pytest.fixture(scope="session")
def few_flights(warehouse_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third flight of January to April."""
    path = tmp_path_factory.mktemp("few") / "warehouse.db"
    path.write_bytes(warehouse_file.read_bytes())
    with sqlite3.connect(path) as database:
        database.execute("delete from flights where rowid % 3 or scheduled_departure >= '2013-05-01'")
    return path


@pytest.fixture(scope="session")
def data_sets(few_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSets:
    """Each with a champion of the first three months in its ledger, and the rows of the run after it."""
    made: dict[str, DataSet] = {}

    def flights() -> tuple[Relay, RunRequest, RunRequest]:
        folder = tmp_path_factory.mktemp(FLIGHTS)
        (folder / "registry").mkdir()
        relay = flights_in(folder, few_flights, (folder / "registry").as_uri())
        return relay, relay.request(month(1), month(4)), relay.request(month(1), month(5))

    def parcels() -> tuple[Relay, RunRequest, RunRequest]:
        folder = tmp_path_factory.mktemp(DELIVERIES)
        url = f"sqlite:///{folder / 'parcels.db'}"
        deliveries.fill(url)
        relay = parcels_in(folder, url)
        april = deliveries.START.replace(month=4)
        later = relay.request(*relay.definition.interval_ending(deliveries.END))
        return relay, relay.request(deliveries.START, april), later

    def readings_of_machines() -> tuple[Relay, RunRequest, RunRequest]:
        folder = tmp_path_factory.mktemp(MACHINES)
        url = f"sqlite:///{folder / 'readings.db'}"
        readings.fill(url)
        relay = made_up_in(
            folder, "machine_failure", {"plant": url}, ROOT / "tests" / "support" / "gate_table" / "models"
        )
        first = relay.request(readings.START, readings.END.replace(month=5))
        return relay, first, relay.request(*relay.definition.interval_ending(readings.END))

    def outcomes() -> tuple[Relay, RunRequest, RunRequest]:
        folder = tmp_path_factory.mktemp(OUTCOMES)
        url = f"sqlite:///{folder / 'parcels.db'}"
        deliveries.fill(url)
        relay = outcomes_in(folder, url)
        april = deliveries.START.replace(month=4)
        later = relay.request(*relay.definition.interval_ending(deliveries.END))
        return relay, relay.request(deliveries.START, april), later

    makers = {FLIGHTS: flights, DELIVERIES: parcels, MACHINES: readings_of_machines, OUTCOMES: outcomes}

    def of(name: str) -> DataSet:
        if name not in made:
            relay, first, second = makers[name]()
            assert relay.run(first).promoted
            pulled = pipeline.pull(relay.definition, second, relay.settings)
            snapshot = pipeline.snapshot(relay.definition, second, relay.settings, pulled)
            columns = read_snapshot(snapshot, column_types(relay.definition))
            made[name] = DataSet(name, relay.definition, relay.settings, second, columns)
        return made[name]

    return of
